"""A sample database: a week of traffic of two sources in many languages, with everything that goes wrong."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any

import orjson

from receiver.clock import new_id, to_micros
from receiver.domain.customers import Customer
from receiver.domain.records import Answer, Delivery, Submission
from receiver.domain.rows import AuditRow
from receiver.errors import AddressNotAllowed, ReceiverError, StorageUnavailable, Unauthorized
from receiver.sources import Source, intake, make_sources
from receiver.writer.commands.deliveries import Tidy
from receiver.writer.commands.operators import AddAuditEntry, ReplaceCustomers
from tests.harness.storage import change, make_tables
from tests.harness.store import Store

# Courier, hours from UTC (None: it writes no zone), prefix of its numbers, and its words for the way of a parcel.
_COURIERS: tuple[tuple[str, int | None, str, tuple[tuple[str, str, str], ...]], ...] = (
    ("se-postnord", 1, "LZ%09dSE", (
        ("info_received", "Vi har fått besked om din försändelse", "Malmö"),
        ("in_transit", "Försändelsen är sorterad vid terminalen", "Rosersberg"),
        ("out_for_delivery", "Försändelsen är under utkörning", "Göteborg"),
        ("delivered", "Försändelsen är utlämnad till mottagaren", "Göteborg"),
    )),
    ("fr-post", None, "6A%011d", (
        ("info_received", "Votre colis va bientôt nous être confié", "Lyon"),
        ("in_transit", "Votre colis est arrivé sur le site logistique dont dépend le destinataire", "Marseille Provence"),
        ("exception", "Adresse incomplète : nous recherchons le complément", "Marseille"),
        ("delivered", "Votre colis est livré au gardien ou à l'accueil", "Marseille"),
    )),
    ("jp-post", 9, "EJ%09dJP", (
        ("info_received", "引受", "東京北部郵便局"),
        ("in_transit", "国際交換局から発送", "川崎東郵便局"),
        ("available_for_pickup", "ご不在のため持ち戻り", "大阪国際郵便局"),
        ("delivered", "お届け先にお届け済み", "大阪"),
    )),
    ("sa-post", 3, "RB%09dSA", (
        ("info_received", "تم استلام بيانات الشحنة", "الرياض"),
        ("in_transit", "غادرت الشحنة مركز الفرز", "جدة"),
        ("failed_attempt", "تعذر التسليم: العنوان غير واضح", "الدمام"),
        ("delivered", "تم تسليم الشحنة بنجاح", "الدمام"),
    )),
    ("de-dhl", 1, "0034043%012d", (
        ("info_received", "Die Sendung wurde elektronisch angekündigt", "Bonn"),
        ("in_transit", "Die Sendung wurde im Start-Paketzentrum bearbeitet", "Rüdersdorf"),
        ("out_for_delivery", "Die Sendung wurde in das Zustellfahrzeug geladen", "Köln"),
        ("delivered", "Die Sendung wurde erfolgreich zugestellt", "Köln"),
    )),
    ("us-usps", None, "9400%018d", (
        ("info_received", "Shipping Label Created, USPS Awaiting Item", "BROOKLYN, NY 11232"),
        ("in_transit", "Arrived at USPS Regional Destination Facility", "LOS ANGELES CA NETWORK DISTRIBUTION CENTER"),
        ("out_for_delivery", "Out for Delivery, Expected Delivery by 9:00pm", "PASADENA, CA 91101"),
        ("delivered", "Delivered, Front Door/Porch", "PASADENA, CA 91101"),
    )),
    ("ua-nova", 2, "2045%010d", (
        ("in_transit", "Відправлення прямує до міста одержувача", "Львів"),
        ("available_for_pickup", "Прибув на відділення", "Київ"),
        ("delivered", "Відправлення отримано", "Київ"),
    )),
)  # fmt: skip

_CLOCK_AHEAD = {"eventId": "ahead", "occurrenceDatetime": "2099-01-01T00:00:00Z"}


def make_sample_database(url: str, now: datetime, trackers: int = 260) -> None:
    """Fill an empty database with the deliveries of the week before `now`."""
    make_tables(url)
    store = Store(url)
    traffic = _SampleTraffic(store, now)
    try:
        calls = [*traffic.parcels(trackers), *traffic.packages(60), *traffic.refusals(), *traffic.fetches()]
        for at, submission in sorted(calls, key=lambda call: call[0]):
            store.inbox.keep([submission], at + timedelta(milliseconds=traffic.random.randint(2, 40)))
        traffic.finish()
    finally:
        store.close()
    began_at = to_micros(now - timedelta(minutes=20))
    since = f"{now - timedelta(hours=1):%Y-%m-%dT%H:%M}Z (limit 40 minutes, twice its longest pause of the last 14 days)"
    silence = f"No accepted delivery from Shiipp since {since}. Check the webhook URL in Shiipp and the rejected deliveries."
    change(
        url,
        "INSERT INTO alarms (name, subject, began_at, ended_at, message) VALUES "
        f"('silence', 'shiipp', {began_at}, NULL, '{silence}')",
    )


class _SampleTraffic:
    """Makes deliveries with their times. Everything drawn is the same each time, except the day."""

    def __init__(self, store: Store, now: datetime) -> None:
        self.random = Random(24)
        self._store = store
        self._now = now
        self._sources = {source.kind: source for source in make_sources({}, {})}

    def parcels(self, number: int) -> Iterator[tuple[datetime, Submission]]:
        """Give the deliveries of Ship24: most in order, some late, repeated, grouped or invalid."""
        updates = sorted((update for place in range(number) for update in self._travel(place)), key=lambda update: update[0])
        held: list[dict[str, Any]] = []
        for place, (at, item) in enumerate(updates):
            if self.random.random() < 0.12:
                held.append(item)
                continue
            items, held = [item, *held[:3]], held[3:]
            if place % 60 == 7:
                items.append({"tracker": {"trackerId": f"broken-{place}"}, "note": "no metadata"})
            if place % 90 == 11:
                items.append(_make_item(place, 9, item["tracker"], item["events"][0] | _CLOCK_AHEAD, "in_transit", at))
            body = orjson.dumps({"trackings": items})
            yield at, self._call("tracking", at, body)
            if self.random.random() < 0.07:
                again = at + timedelta(minutes=self.random.randint(1, 50))
                yield again, self._call("tracking", again, body)

    def packages(self, number: int) -> Iterator[tuple[datetime, Submission]]:
        """Give the deliveries of Shiipp: packages at the warehouse, and their manifests."""
        for place in range(number):
            at = self._now - timedelta(hours=self.random.uniform(3, 160))
            entered = (at - timedelta(minutes=self.random.randint(1, 15))).astimezone(timezone(timedelta(hours=-5)))
            package = {
                "package_id": f"PK/{place:05d}",
                "tracking_number": f"1Z999AA1{place:010d}",
                "weight": f"{self.random.randint(1, 30)} lbs",
                "user_code": f"JAM{place:04d}",
                "entry_date_time": entered.isoformat(timespec="seconds"),
                "manifest_number": f"MAN {place // 12 + 1:03d}",
            }
            yield at, self._call("new-package", at, orjson.dumps(package))
        for place in range(5):
            for step, status in enumerate(("draft", "ready", "shipped", "completed")[: place + 1]):
                at = self._now - timedelta(hours=100 - place * 16 - step * 3)
                manifest = {"manifest_number": f"MAN {place + 1:03d}", "status": status, "changed_at": at.isoformat()}
                yield at, self._call("manifest-status", at, orjson.dumps(manifest))

    def refusals(self) -> Iterator[tuple[datetime, Submission]]:
        """Give deliveries that were rejected, invalid or failed."""
        for place in range(70):
            at = self._now - timedelta(hours=self.random.uniform(4.5, 6))
            unauthorized = Unauthorized("The request had no valid token.")
            unauthorized.cause = "unknown_token" if place % 5 else "api_key"
            error: ReceiverError = unauthorized
            client = f"203.0.113.{self.random.randint(2, 40)}"
            if place % 6 == 0:
                error = AddressNotAllowed(f"IP address {client} is not allowed.")
            token = "main" if place % 6 == 0 else None
            yield at, self._refuse(at, error, client, token)
        for place, body in enumerate((b'{"trackings": [}', b"<xml>hello</xml>", b'{"events": []}')):
            at = self._now - timedelta(hours=2 + place * 9)
            yield at, self._call("tracking", at, body)
        at = self._now - timedelta(hours=27)
        yield at, self._refuse(at, StorageUnavailable("The commit was not done within 10 seconds."), "54.161.7.2", "main")

    def fetches(self) -> Iterator[tuple[datetime, Submission]]:
        """Give the visits of Shiipp for the customer list."""
        for place in range(7):
            at = self._now - timedelta(hours=1 + place * 8)
            delivery = self._deliver("shiipp", "customers", "GET", "/shiipp/customers", at, b"", "198.51.100.7", "shop")
            status = 304 if place % 3 == 1 else 200
            yield at, Submission(delivery, answer=Answer(status, b""), served=0 if status == 304 else 240)

    def finish(self) -> None:
        """Write down the counts, a customer list and what operators did."""
        executor, now = self._store.executor, to_micros(self._now)
        customers = [Customer(f"JAM{place:04d}", "Ann", "Smith", "Kingston") for place in range(240)]
        rows = [(customer.user_code, customer.document()) for customer in customers]
        done = [("console sign-in", "console", None), ("setup-window open", "ship24", "for 15 minutes")]
        done += [("console sign-in failed", "console", "3 more before it"), ("customers import", "customers", "240 customers")]
        executor.do(Tidy(executor.counts.take(), now))
        executor.do(ReplaceCustomers("0192-list", now - 40 * 3_600_000_000, rows))
        for place, (action, subject, detail) in enumerate(done):
            at = self._now - timedelta(hours=50 - place * 11)
            actor = "nobody" if "failed" in action else "anna"
            entry = AuditRow(new_id(at), to_micros(at), actor, "192.0.2.14", action, subject, detail)
            executor.do(AddAuditEntry(entry))

    def _travel(self, place: int) -> Iterator[tuple[datetime, dict[str, Any]]]:
        """Give the updates of one parcel with the times at which they arrive."""
        courier, offset, numbers, steps = _COURIERS[place % len(_COURIERS)]
        at = self._now - timedelta(hours=self.random.uniform(2, 150))
        tracker = {
            "trackerId": f"{self.random.getrandbits(64):016x}-{place:04d}",
            "trackingNumber": numbers % self.random.randrange(10**9),
            "clientTrackerId": f"order-{70_000 + place}",
            "shipmentReference": None if place % 3 else f"REF-{place}",
        }
        for order, (milestone, status, location) in enumerate(steps[: self.random.randint(1, len(steps))]):
            at += timedelta(hours=self.random.uniform(2, 30))
            lag = timedelta(minutes=self.random.expovariate(1 / 40) + 1)
            arrived = at + (lag * 60 if self.random.random() < 0.06 else lag)
            if arrived > self._now:
                return
            event = {
                "eventId": f"event-{place}-{order}",
                "occurrenceDatetime": _write_time(at, offset, bare=place % 23 == 5),
                "order": order,
                "status": status,
                "statusMilestone": milestone,
                "location": location,
                "courierCode": courier,
            }
            yield arrived, _make_item(place, order, tracker, event, milestone, arrived)

    def _call(self, kind: str, at: datetime, body: bytes) -> Submission:
        source: Source = self._sources[kind]
        client, token = ("54.161.7.2", "main") if source.name == "ship24" else ("198.51.100.7", "shop")
        return intake.parse_delivery(source, self._deliver(source.name, kind, "POST", source.path, at, body, client, token))

    def _refuse(self, at: datetime, error: ReceiverError, client: str, token: str | None) -> Submission:
        delivery = self._deliver("ship24", "tracking", "POST", "/webhooks/ship24", at, b"", client, token)
        return Submission(delivery, error=error)

    def _deliver(
        self, source: str, kind: str, method: str, path: str, at: datetime, body: bytes, client: str, token: str | None
    ) -> Delivery:
        headers = (("host", "hooks.example.com"), ("user-agent", "Ship24/1.0"), ("content-type", "application/json"),
                   ("x-forwarded-for", client), ("content-length", str(len(body))))  # fmt: skip
        return Delivery(new_id(at), source, kind, method, path, to_micros(at), "10.0.0.3", client, token, None, headers, body)


def _make_item(
    place: int, order: int, tracker: dict[str, Any], event: dict[str, Any], milestone: str, arrived: datetime
) -> dict[str, Any]:
    generated_at = arrived.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "metadata": {
            "generatedAt": generated_at,
            "messageId": f"{place:08x}-0{order}-message",
            "topic": "tracking/events",
        },
        "tracker": tracker,
        "shipment": {
            "shipmentId": f"shipment-{place}",
            "statusMilestone": milestone,
            "originCountryCode": "SE",
            "destinationCountryCode": "FI",
            "delivery": {"estimatedDeliveryDate": None, "service": "Parcel to door", "signedBy": None},
            "recipient": {"name": "Aina Lindqvist", "city": "Norrtälje", "postCode": "01180"},
        },
        "events": [event],
        "statistics": {"timestamps": {"infoReceivedDatetime": None, "deliveredDatetime": None}},
    }


def _write_time(at: datetime, offset: int | None, *, bare: bool) -> str:
    """Write a time as couriers do: with their zone, without any, or the day alone."""
    if bare:
        return at.strftime("%Y-%m-%d")
    if offset is None:
        return at.strftime("%Y-%m-%dT%H:%M:%S")
    return at.astimezone(timezone(timedelta(hours=offset))).isoformat(timespec="seconds")
