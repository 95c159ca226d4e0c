"""The settings: names, defaults, bounds, and the combinations that contradict each other."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from receiver.access.bearer import AccessPolicy, AddressPolicy, Secret
from receiver.domain.alarms import AlarmThresholds
from receiver.domain.notices import NoticeFormat
from receiver.domain.retention import RetentionPeriods
from receiver.project.address import DEFAULT_HOST, DEFAULT_PORT
from receiver.project.folder import Project
from receiver.settings import values
from receiver.settings.combinations import check_mail, check_operators, check_reconcile, check_target_secrets, check_token_ends
from receiver.settings.values import (
    ApiKey,
    Command,
    Ends,
    Hours,
    MailAddress,
    MailAddresses,
    ManifestPaths,
    Modules,
    Networks,
    PackagePaths,
    Percent,
    SmtpUrl,
    Targets,
    TargetSecrets,
    Tokens,
    Url,
)
from receiver.sources import NAMES, Source, make_sources

PREFIX = "RECEIVER_"


class Settings(BaseModel):
    """All settings. A field is named like its variable, in lower case and without `RECEIVER_`."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
        arbitrary_types_allowed=True,
    )

    database_url: str = Field(
        "sqlite:///data/receiver.db",
        repr=False,
        description="Database. Use `postgresql://…` for PostgreSQL. `DATABASE_URL` works too.",
    )
    host: str = Field(DEFAULT_HOST, pattern=r"^[^\x00-\x20]*$", description="Address to listen on.")
    port: int = Field(DEFAULT_PORT, ge=0, le=65535, description="Port to listen on. `PORT` works too.")
    ship24_tokens: Tokens = Field(
        (),
        description="Webhook secrets of Ship24, comma-separated; `name:token` gives one a name, which otherwise is made of a "
        "fingerprint. Without a secret the source is off.",
    )
    ship24_allowed_ips: Networks = Field(
        values.read_networks("3.222.254.223,54.161.7.2"), description="Addresses and networks that Ship24 calls from."
    )
    ship24_ip_policy: AddressPolicy = Field(
        AddressPolicy.ENFORCE,
        description="What happens to deliveries from other addresses: `enforce` rejects them, `report` accepts them and notes "
        "it, `off` does not check.",
    )
    ship24_silence_hours: Hours | None = Field(
        None,
        description="Alarm after so many hours without an accepted delivery from Ship24; 0: never. Without a value, the limit is "
        "twice the longest pause of the last 14 days, once more than a week is known.",
    )
    ship24_api_key: ApiKey = Field(
        None, description="API key of Ship24, for `receiver reconcile ship24`. It is not a webhook secret."
    )
    ship24_api_url: str = Field(
        "https://api.ship24.com/public/v1", pattern="^https?://", description="URL of Ship24's API. Change it only for tests."
    )
    ship24_reconcile_hours: Hours = Field(
        0,
        description="Look up trackers at Ship24 that are on their way and have been silent for so many hours; 0: never. "
        "Needs the API key.",
    )
    shiipp_tokens: Tokens = Field((), description="API tokens of Shiipp, in the same form as those of Ship24.")
    shiipp_allowed_ips: Networks = Field((), description="Addresses and networks that Shiipp calls from.")
    shiipp_ip_policy: AddressPolicy = Field(AddressPolicy.OFF, description="The same as for Ship24.")
    shiipp_silence_hours: Hours | None = Field(None, description="The same as for Ship24.")
    shiipp_new_package: PackagePaths = Field(
        default_factory=dict, description="In the file only: field paths to use in new-package bodies, by field."
    )
    shiipp_manifest_status: ManifestPaths = Field(
        default_factory=dict, description="In the file only: field paths to use in manifest-status bodies, by field."
    )
    ops_tokens: Tokens = Field(
        (), description="Tokens for the console, the API and `/metrics`, comma-separated. Without a token they are off."
    )
    ops_read_tokens: Tokens = Field(
        (), description="Tokens for operators who may only look: every change is refused in the console and the API."
    )
    trusted_proxies: Networks = Field(
        (), description="Networks of proxies whose `X-Forwarded-For` is believed. It is read from its right end."
    )
    max_body_bytes: int = Field(5_242_880, ge=1024, le=104_857_600, description="Largest request body. Larger ones get 413.")
    max_future_hours: float = Field(
        48, gt=0, le=1_000_000_000, description="An event further ahead of its receipt is quarantined as `implausible_future`."
    )
    body_retention_days: int = Field(
        90, ge=0, description="How long bodies, responses and quarantined bytes are kept; 0: for ever."
    )
    refused_retention_days: int = Field(
        30, ge=0, description="How long rejected and failed deliveries are kept, at most 10,000 of them; 0: only that bound."
    )
    change_retention_days: int = Field(
        30,
        ge=0,
        description="How long dead changes are kept, and changes that wait for a stopped or removed target; 0: for ever.",
    )
    delivered_retention_days: int = Field(
        30, ge=0, description="How long it is kept which change was delivered to which target, and when; 0: for ever."
    )
    body_timeout_seconds: float = Field(10, gt=0, description="Time for a whole request. Then the connection is closed.")
    commit_timeout_seconds: float = Field(10, gt=0, description="Time for a commit. Then the sender gets 503 and retries.")
    queue_deliveries: int = Field(2048, ge=1, description="Deliveries that may wait for their commit. More get 503.")
    log_format: Literal["json", "console"] = Field("json", description="Format of the log: `json` or `console`.")
    alarm_url: Url = Field(
        None,
        description="URL that is posted to when an alarm begins or ends. It may carry a token, so it is treated as a secret.",
    )
    alarm_format: Literal["auto", "json", "slack", "teams", "discord", "ntfy"] = Field(
        "auto",
        description="Form of what is posted to that URL. `auto` knows Slack, Microsoft Teams, Discord and ntfy.sh by the host, "
        "and posts `json` elsewhere. Mattermost takes `slack`.",
    )
    alarm_command: Command = Field(
        (),
        repr=False,
        description="Command that is run when an alarm begins or ends, without a shell, with JSON on standard input.",
    )
    alarm_smtp_url: SmtpUrl = Field(
        None,
        description="Mail server for alarms, as `smtp://user:password@host:587` (with STARTTLS) or `smtps://user:password@host`. "
        "It is treated as a secret.",
    )
    alarm_smtp_from: MailAddress = Field("", description="Address that mails about alarms come from.")
    alarm_smtp_to: MailAddresses = Field((), description="Addresses that get mails about alarms, comma-separated.")
    alarm_refused: int = Field(
        100, ge=0, description="Alarm at so many deliveries answered 401 or 403 within 5 minutes, for each source; 0: never."
    )
    alarm_quarantined: int = Field(
        10, ge=0, description="Alarm at so many quarantined messages within an hour, for each source; 0: never."
    )
    alarm_refused_percent: Percent = Field(
        20,
        description="Alarm also when the last 3 deliveries of a source were all answered 401 or 403, or 3 or more and this share "
        "of them within an hour; 0: only the number counts.",
    )
    alarm_quarantined_percent: Percent = Field(
        20,
        description="Alarm also when the last 3 messages of a source were all quarantined, or 3 or more and this share of them "
        "within an hour; 0: only the number counts.",
    )
    alarm_stale_percent: Percent = Field(
        50,
        description="Alarm at this share of stale messages among 100 or more within an hour, or, for a source with fewer, among "
        "10 or more within a day; 0: never.",
    )
    alarm_disk_percent: Percent = Field(
        10, description="Alarm when less than this share of the disk under a SQLite database is free; 0: never."
    )
    alarm_token_days: int = Field(14, ge=0, description="Alarm so many days before the last day of a token; 0: on that day.")
    alarm_target_minutes: float = Field(
        60,
        ge=0,
        description="Alarm when a change has been waiting for a target for so long. 0: never, and no alarm about a relay that "
        "does not run or about targets that only a part of the processes knows.",
    )
    token_ends: Ends = Field(
        default_factory=dict, description='In the file only: the last day of each token, such as `"ship24:old" = 2026-12-31`.'
    )
    handlers: Modules = Field((), description="Python modules with handlers, comma-separated or a list.")
    handler_timeout_seconds: float = Field(
        60, gt=0, le=600, description="Time for one run of a handler. Then it counts as failed and is retried."
    )
    targets: Targets = Field(  # a URL may carry a token
        (),
        repr=False,
        description="In the file only: the `[[targets]]` that changes are delivered to. Their secrets are in "
        "`RECEIVER_TARGET_SECRETS`.",
    )
    target_secrets: TargetSecrets = Field(
        (), description="Secrets of targets as `name:secret`, comma-separated. A target may have two while you change its secret."
    )

    _project: Project = PrivateAttr(Project())
    _is_configured: bool = PrivateAttr(default=True)

    @property
    def project(self) -> Project:
        """The project folder, from which relative paths count."""
        return self._project

    @property
    def is_configured(self) -> bool:
        """Whether any setting is given, or a project folder was found."""
        return self._is_configured or self._project.sign is not None

    def in_project(self, project: Project, *, is_configured: bool) -> "Settings":
        """Return these settings, which were read in a project folder."""
        self._project, self._is_configured = project, is_configured
        return self

    @model_validator(mode="after")
    def _check_combinations(self) -> "Settings":
        for source in NAMES:
            access_policy = self.access_policy(source)
            if access_policy.tokens and access_policy.policy is not AddressPolicy.OFF and not access_policy.networks:
                raise ValueError(
                    f"{PREFIX}{source.upper()}_ALLOWED_IPS: empty while {PREFIX}{source.upper()}_IP_POLICY is "
                    f"{access_policy.policy}; every delivery would be rejected. List the addresses, or set the policy to off"
                )
            for setting, tokens in (("OPS_TOKENS", self.ops_tokens), ("OPS_READ_TOKENS", self.ops_read_tokens)):
                if {secret.reveal() for secret in access_policy.tokens} & {secret.reveal() for secret in tokens}:
                    raise ValueError(
                        f"{PREFIX}{setting}: has a token in common with {PREFIX}{source.upper()}_TOKENS; "
                        "a sender of webhooks could use the console and the API"
                    )
        check_operators(self.ops_tokens, self.ops_read_tokens)
        check_reconcile(self.ship24_reconcile_hours, self.ship24_api_key)
        check_mail(self.alarm_smtp_url, self.alarm_smtp_from, self.alarm_smtp_to)
        if any(network.prefixlen == 0 for network in self.trusted_proxies):
            raise ValueError(f"{PREFIX}TRUSTED_PROXIES: the whole internet is not a proxy; list your proxies' networks")
        known = {f"{source}:{token.name}" for source, tokens in self.tokens().items() for token in tokens}
        check_token_ends(self.token_ends, known)
        check_target_secrets([secret.name for secret in self.target_secrets], {target.name for target in self.targets})
        return self

    def access_policy(self, source: str) -> AccessPolicy:
        """Return the tokens, networks and address policy of one source."""
        return AccessPolicy(
            getattr(self, f"{source}_tokens"),
            getattr(self, f"{source}_allowed_ips"),
            getattr(self, f"{source}_ip_policy"),
        )

    def sources(self) -> tuple[Source, ...]:
        """Return the sources: webhook paths with their parsers."""
        return make_sources(self.shiipp_new_package, self.shiipp_manifest_status)

    def notice_format(self) -> NoticeFormat | None:
        """Return the format of notices to the alarm URL. None: its host decides."""
        return None if self.alarm_format == "auto" else self.alarm_format

    def active_sources(self) -> tuple[str, ...]:
        """Return the names of the sources with a token. The others are off."""
        return tuple(name for name in NAMES if self.access_policy(name).tokens)

    def alarm_rules(self) -> AlarmThresholds:
        """Return the thresholds of the alarms. A source without a token is off; its silence is no alarm."""
        return AlarmThresholds(
            silence_hours={name: getattr(self, f"{name}_silence_hours") for name in self.active_sources()},
            refused=self.alarm_refused,
            quarantined=self.alarm_quarantined,
            stale_percent=self.alarm_stale_percent,
            disk_percent=self.alarm_disk_percent,
            token_days=self.alarm_token_days,
            token_ends=tuple(self.token_ends.items()),
            target_minutes=self.alarm_target_minutes,
            refused_percent=self.alarm_refused_percent,
            quarantined_percent=self.alarm_quarantined_percent,
        )

    def periods(self) -> RetentionPeriods:
        """Return the retention periods."""
        return RetentionPeriods(
            self.body_retention_days,
            self.refused_retention_days,
            self.change_retention_days,
            self.delivered_retention_days,
        )

    def secrets(self) -> tuple[str, ...]:
        """Return all secrets that logs must not contain, including the password of the database and the URLs of alarms."""
        keys = () if self.ship24_api_key is None else (self.ship24_api_key,)
        tokens = (*(token for tokens in self.tokens().values() for token in tokens), *self.target_secrets, *keys)
        urls = [url.reveal() for url in (self.alarm_url, self.alarm_smtp_url) if url is not None]
        in_urls = {secret for url in urls for secret in values.find_secrets(url)}
        return (*(token.reveal() for token in tokens), *values.find_passwords(self.database_url), *in_urls)

    def tokens(self) -> dict[str, tuple[Secret, ...]]:
        """Return the tokens by source; the source of operators' tokens is `ops`."""
        operators = (*self.ops_tokens, *self.ops_read_tokens)
        return {**{source: self.access_policy(source).tokens for source in NAMES}, "ops": operators}
