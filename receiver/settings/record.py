"""The settings: names, defaults, bounds, and the combinations that contradict each other."""

from difflib import get_close_matches
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from receiver.access.bearer import AccessPolicy, AddressPolicy
from receiver.domain.alarms import AlarmThresholds
from receiver.domain.retention import RetentionPeriods
from receiver.settings import values
from receiver.settings.values import (
    Command,
    Ends,
    Hours,
    ManifestPaths,
    Modules,
    Networks,
    PackagePaths,
    Percent,
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
        arbitrary_types_allowed=True,
    )

    database_url: str = Field("sqlite:///data/receiver.db", repr=False)
    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    ship24_tokens: Tokens = ()
    ship24_allowed_ips: Networks = values.read_networks("3.222.254.223,54.161.7.2")
    ship24_ip_policy: AddressPolicy = AddressPolicy.ENFORCE
    ship24_silence_hours: Hours | None = None
    shiipp_tokens: Tokens = ()
    shiipp_allowed_ips: Networks = ()
    shiipp_ip_policy: AddressPolicy = AddressPolicy.OFF
    shiipp_silence_hours: Hours | None = None
    shiipp_new_package: PackagePaths = Field(default_factory=dict)
    shiipp_manifest_status: ManifestPaths = Field(default_factory=dict)
    ops_tokens: Tokens = ()
    trusted_proxies: Networks = ()
    max_body_bytes: int = Field(5_242_880, ge=1024, le=104_857_600)
    max_future_hours: float = Field(48, gt=0)
    body_retention_days: int = Field(90, ge=0)
    refused_retention_days: int = Field(30, ge=0)
    change_retention_days: int = Field(30, ge=0)
    body_timeout_seconds: float = Field(10, gt=0)
    commit_timeout_seconds: float = Field(10, gt=0)
    queue_deliveries: int = Field(2048, ge=1)
    log_format: Literal["json", "console"] = "json"
    alarm_url: Url = None
    alarm_command: Command = Field((), repr=False)
    alarm_refused: int = Field(100, ge=0)
    alarm_quarantined: int = Field(10, ge=0)
    alarm_stale_percent: Percent = 50
    alarm_disk_percent: Percent = 10
    alarm_token_days: int = Field(14, ge=0)
    alarm_target_minutes: float = Field(60, ge=0, allow_inf_nan=False)
    token_ends: Ends = Field(default_factory=dict)
    handlers: Modules = ()
    handler_timeout_seconds: float = Field(60, gt=0, le=600)
    targets: Targets = Field((), repr=False)  # a URL may carry a token
    target_secrets: TargetSecrets = ()

    @model_validator(mode="after")
    def _check_combinations(self) -> "Settings":
        for source in NAMES:
            access_policy = self.access_policy(source)
            if access_policy.tokens and access_policy.policy is not AddressPolicy.OFF and not access_policy.networks:
                raise ValueError(
                    f"{PREFIX}{source.upper()}_ALLOWED_IPS: empty while {PREFIX}{source.upper()}_IP_POLICY is "
                    f"{access_policy.policy}; every delivery would be rejected. List the addresses, or set the policy to off"
                )
            shared = {secret.reveal() for secret in access_policy.tokens} & {secret.reveal() for secret in self.ops_tokens}
            if shared:
                raise ValueError(
                    f"{PREFIX}OPS_TOKENS: has a token in common with {PREFIX}{source.upper()}_TOKENS; "
                    "a sender of webhooks could use the console and the API"
                )
        if any(network.prefixlen == 0 for network in self.trusted_proxies):
            raise ValueError(f"{PREFIX}TRUSTED_PROXIES: the whole internet is not a proxy; list your proxies' networks")
        known = self._token_names()
        for place, token in enumerate(self.token_ends, 1):
            if token not in known:  # not quoted: it could be the token itself
                near = get_close_matches(token, sorted(known), n=1, cutoff=0)
                hint = f"; the nearest one is {near[0]}" if near else ": there are no tokens"
                raise ValueError(f"{PREFIX}TOKEN_ENDS: entry {place} is not the source and name of a token{hint}")
        names = {target.name for target in self.targets}
        for place, secret in enumerate(self.target_secrets, 1):
            if secret.name not in names:
                raise ValueError(
                    f"{PREFIX}TARGET_SECRETS: entry {place} is not for one of the targets: {', '.join(sorted(names))}"
                )
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

    def alarm_rules(self) -> AlarmThresholds:
        """Return the thresholds of the alarms. A source without a token is off; its silence is no alarm."""
        on = [name for name in NAMES if self.access_policy(name).tokens]
        return AlarmThresholds(
            silence_hours={name: getattr(self, f"{name}_silence_hours") for name in on},
            refused=self.alarm_refused,
            quarantined=self.alarm_quarantined,
            stale_percent=self.alarm_stale_percent,
            disk_percent=self.alarm_disk_percent,
            token_days=self.alarm_token_days,
            token_ends=tuple(self.token_ends.items()),
            target_minutes=self.alarm_target_minutes,
        )

    def periods(self) -> RetentionPeriods:
        """Return the retention periods."""
        return RetentionPeriods(self.body_retention_days, self.refused_retention_days, self.change_retention_days)

    def secrets(self) -> tuple[str, ...]:
        """Return all secrets that logs must not contain, with the password of the database and the URL of alarms."""
        tokens = (*self.ship24_tokens, *self.shiipp_tokens, *self.ops_tokens, *self.target_secrets)
        of_url = values.find_secrets(self.alarm_url.reveal()) if self.alarm_url is not None else set()
        return (*(token.reveal() for token in tokens), *values.find_passwords(self.database_url), *of_url)

    def _token_names(self) -> set[str]:
        """Return `source:name` of every token; the source of operators' tokens is `ops`."""
        kinds = {**{source: self.access_policy(source).tokens for source in NAMES}, "ops": self.ops_tokens}
        return {f"{kind}:{token.name}" for kind, tokens in kinds.items() for token in tokens}
