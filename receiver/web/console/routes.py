"""The console, put together: which address shows which page."""

from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from receiver.access.operators import OperatorAuth
from receiver.access.sessions import Sessions
from receiver.access.setup_windows import SetupWindows
from receiver.errors import NotFound
from receiver.maintenance.replay import StoredReplay
from receiver.settings import Settings
from receiver.storage.database import Database
from receiver.storage.reader import Reader
from receiver.web.console.assets import Assets
from receiver.web.console.customers import CustomerPages
from receiver.web.console.deliveries import DeliveryPages
from receiver.web.console.guard import SessionGuard, Visit
from receiver.web.console.login import Login
from receiver.web.console.messages import MessagePages
from receiver.web.console.overview import OverviewPage
from receiver.web.console.pages import Page, Pages
from receiver.web.console.quarantine import QuarantinePages
from receiver.web.console.rendering import Renderer
from receiver.web.console.replays import ReplayPages
from receiver.web.console.settings import SettingsView
from receiver.web.console.trackers import TrackerPages
from receiver.writer.client import WriterClient


class PageRoute(Route):
    """Takes what no other route takes, except under `/ops/api`, whose answers are never pages."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match as all routes do, outside the API."""
        if f"{scope['path']}/".startswith("/ops/api/"):
            return Match.NONE, {}
        return super().matches(scope)


def show_nothing(_visit: Visit) -> Page:
    """Raise NotFound: there is no such page."""
    raise NotFound("There is no page at this address.")


def make_console(
    settings: Settings,
    database: Database,
    operators: OperatorAuth,
    reader: Reader,
    writer_client: WriterClient,
    windows: SetupWindows,
    replayer: StoredReplay,
) -> list[BaseRoute]:
    """Return the routes of all pages; none if no ops token is set. They come behind those of the API."""
    if not settings.ops_tokens:
        return []
    assets = Assets()
    renderer = Renderer(settings.secrets(), assets)
    sessions = Sessions(settings.ops_tokens)
    guard = SessionGuard(sessions, database, operators, settings.trusted_proxies)
    pages = Pages(guard, renderer, reader)
    login = Login(sessions, guard, operators, renderer, writer_client, reader)
    settings_view = SettingsView(settings, database, writer_client, windows)
    replays = ReplayPages(database, renderer, replayer)
    return [
        Route("/ops/static/{version}/{name}", assets.serve),
        Route("/ops/sign-in", login.show),
        Route("/ops/sign-in", login.sign_in, methods=["POST"]),
        Route("/ops/sign-out", pages.take(login.sign_out), methods=["POST"]),
        *_make_reading_routes(settings, database, pages),
        Route("/ops/settings", pages.show(settings_view.show)),
        Route("/ops/settings/setup-window/{source}", pages.show(settings_view.ask)),
        Route(
            "/ops/settings/setup-window/{source}",
            pages.take(settings_view.order),
            methods=["POST"],
        ),
        Route("/ops/deliveries/{delivery_id}/replay", pages.show(replays.ask)),
        Route("/ops/deliveries/{delivery_id}/replay", pages.take(replays.order), methods=["POST"]),
        PageRoute("/ops/{rest:path}", pages.show(show_nothing)),
    ]


def _make_reading_routes(settings: Settings, database: Database, pages: Pages) -> list[BaseRoute]:
    trackers, deliveries = TrackerPages(database), DeliveryPages(database)
    return [
        Route("/ops", pages.show(OverviewPage(settings, database).show)),
        Route("/ops/trackers", pages.show(trackers.show_list)),
        Route("/ops/trackers/{source}/{tracker_id:path}", pages.show(trackers.show_one)),
        Route("/ops/deliveries", pages.show(deliveries.show_list)),
        Route("/ops/deliveries/{delivery_id}", pages.show(deliveries.show_one)),
        Route("/ops/deliveries/{delivery_id}/body", pages.show(deliveries.save_body)),
        Route("/ops/deliveries/{delivery_id}/answer", pages.show(deliveries.save_answer)),
        Route("/ops/messages/{message_id:path}", pages.show(MessagePages(settings, database).show_one)),
        Route("/ops/quarantine", pages.show(QuarantinePages(database).show)),
        Route("/ops/customers", pages.show(CustomerPages(database).show)),
    ]
