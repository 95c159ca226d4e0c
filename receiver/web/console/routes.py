"""The routes of the console: one line for each page."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from receiver.access.operators import OperatorAuth
from receiver.access.sessions import Sessions
from receiver.access.setup_windows import SetupWindows
from receiver.errors import NotFound
from receiver.maintenance.erase import Eraser
from receiver.maintenance.reconcile.jobs import ReconcileJobs
from receiver.maintenance.replay import StoredReplay
from receiver.monitoring.notifier import AlarmNotifier
from receiver.relay.assembly import ConfiguredTarget
from receiver.relay.target_tests import TestTarget
from receiver.settings import Settings
from receiver.storage.database import Database
from receiver.storage.reader import Reader
from receiver.web.api.endpoints import ReadContext
from receiver.web.console.alarms import try_channels
from receiver.web.console.assets import Assets
from receiver.web.console.changes import list_changes
from receiver.web.console.customer_import import ask_for_list, import_list
from receiver.web.console.customers import show_customers
from receiver.web.console.deliveries import download_answer, download_body, list_deliveries, show_delivery
from receiver.web.console.delivery_import import DELIVERY_IMPORT_PATH, ask_for_bodies, import_bodies
from receiver.web.console.downloads import list_downloads
from receiver.web.console.erasure import ask_to_erase, erase_chosen
from receiver.web.console.login import ConsoleRequest, Login, SessionGuard
from receiver.web.console.messages import list_messages, show_message
from receiver.web.console.overview import show_overview
from receiver.web.console.pages import MakePage, Page, Pages, TakeForm
from receiver.web.console.quarantine import show_quarantine
from receiver.web.console.quarantine_changes import QuarantineForms
from receiver.web.console.recover import RECONCILIATION_PATH, RECOVER_PATH, recover, show_reconciliation, show_recover
from receiver.web.console.rendering import Renderer
from receiver.web.console.replays import ask_to_replay, replay_delivery
from receiver.web.console.results import PATH as RESULTS_PATH
from receiver.web.console.search import search
from receiver.web.console.settings import ask_for_window, change_window, show_settings
from receiver.web.console.targets import change_target, send_again, show_targets, try_target
from receiver.web.console.time_zone_choice import ask_for_zone, choose_zone
from receiver.web.console.trackers import list_trackers, show_tracker
from receiver.web.console.views import VIEWS_PATH, change_views, find_list
from receiver.writer.client import WriterClient

CUSTOMER_IMPORT_PATH = "/ops/customers/import"
_DELIVERY = "/ops/deliveries/{delivery_id}"
_REPLAY = f"{_DELIVERY}/replay"
_ZONE = "/ops/time-zone"
_WINDOW = "/ops/settings/setup-window/{source}"

_FORM_PAGES = {
    "/ops/settings/alarm-test": "/ops/settings",
    "/ops/targets/test": "/ops/targets",
    "/ops/targets/resend": "/ops/targets",
}
"""The pages of forms that have another URL than their page."""


class PageRoute(Route):
    """A route that leaves `/ops/api` to the API, whose errors are never pages."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match as every route does, except under `/ops/api`."""
        if f"{scope['path']}/".startswith("/ops/api/"):
            return Match.NONE, {}
        return super().matches(scope)


def make_console(
    settings: Settings,
    database: Database,
    operators: OperatorAuth,
    reader: Reader,
    writer_client: WriterClient,
    windows: SetupWindows,
    replayer: StoredReplay,
    notifier: AlarmNotifier,
    targets: Sequence[ConfiguredTarget],
    test_target: TestTarget,
    eraser: Eraser,
    jobs: ReconcileJobs,
) -> list[BaseRoute]:
    """Return the routes of all pages, or none if there is no ops token. They must follow the routes of the API."""
    if not (tokens := settings.tokens()["ops"]):
        return []
    assets = Assets()
    renderer = Renderer(settings.secrets(), assets)
    sessions = Sessions(tokens)
    guard = SessionGuard(sessions, database, operators, settings.trusted_proxies)
    pages = Pages(guard, renderer, reader)
    login = Login(sessions, guard, operators, renderer, writer_client, reader)
    forms_by_path: dict[str, TakeForm] = {
        **_list_forms(settings, writer_client, windows, replayer, eraser, database, jobs, notifier),
        **_list_target_forms(writer_client, reader, database, targets, test_target),
        "/ops/quarantine": QuarantineForms(writer_client, reader, database, replayer).take,
    }
    return [
        Route("/ops/static/{version}/{name}", assets.serve),
        Route("/ops/sign-in", login.show),
        Route("/ops/sign-in", login.sign_in, methods=["POST"]),
        *_list_own_forms(pages, login),
        *list_downloads(pages, reader, ReadContext(database, settings.sources(), tuple(targets), ())),
        Route(f"{RESULTS_PATH}/{{result_id}}", pages.show(pages.show_result)),
        Route(_REPLAY, pages.show_on_loop(partial(ask_to_replay, replayer, reader, database))),
        *(Route(path, pages.show(make)) for path, make in _list_pages(settings, database, notifier, targets, jobs).items()),
        *(_route_form(pages, path, take_form) for path, take_form in forms_by_path.items()),
        PageRoute("/ops/{rest:sender_id}", pages.show(show_unknown)),
    ]


def _list_own_forms(pages: Pages, login: Login) -> list[Route]:
    """Return the forms that change nothing for others. Tokens that only look may send them too."""
    return [
        Route("/ops/sign-out", pages.take(login.sign_out, is_change=False), methods=["POST"]),
        Route(VIEWS_PATH, pages.take(change_views, find_page=find_list, is_change=False), methods=["POST"]),
    ]


def _route_form(pages: Pages, path: str, take_form: TakeForm) -> Route:
    return Route(path, pages.take(take_form, form_page=_FORM_PAGES.get(path), is_change=path != _ZONE), methods=["POST"])


def show_unknown(_page_request: ConsoleRequest) -> Page:
    """Raise NotFound: no page has this path."""
    raise NotFound("There is no page at this address.")


def _list_target_forms(
    writer_client: WriterClient,
    reader: Reader,
    database: Database,
    targets: Sequence[ConfiguredTarget],
    test_target: TestTarget,
) -> dict[str, TakeForm]:
    return {
        "/ops/targets": partial(change_target, writer_client, reader, database, targets),
        "/ops/targets/test": partial(try_target, writer_client, targets, test_target),
        "/ops/targets/resend": partial(send_again, writer_client, targets),
    }


def _list_pages(
    settings: Settings,
    database: Database,
    notifier: AlarmNotifier,
    targets: Sequence[ConfiguredTarget],
    jobs: ReconcileJobs,
) -> dict[str, MakePage]:
    max_future = timedelta(hours=settings.max_future_hours)
    return {
        "/ops": partial(show_overview, settings, database, targets),
        "/ops/search": partial(search, database),
        "/ops/trackers": partial(list_trackers, database, targets),
        "/ops/trackers/{source}/{tracker_id:sender_id}": partial(show_tracker, database, max_future, targets),
        "/ops/deliveries": partial(list_deliveries, database),
        DELIVERY_IMPORT_PATH: partial(ask_for_bodies, jobs.deliveries),
        _DELIVERY: partial(show_delivery, database),
        f"{_DELIVERY}/body": partial(download_body, database),
        f"{_DELIVERY}/answer": partial(download_answer, database),
        "/ops/messages": partial(list_messages, database),
        "/ops/messages/{message_id:sender_id}": partial(show_message, database, settings.sources()),
        "/ops/quarantine": partial(show_quarantine, database),
        "/ops/changes": partial(list_changes, database, targets),
        "/ops/targets": partial(show_targets, database, targets),
        RECOVER_PATH: partial(show_recover, database, settings.active_sources(), jobs),
        RECONCILIATION_PATH: partial(show_reconciliation, database, jobs),
        "/ops/erasure": partial(ask_to_erase, database),
        "/ops/customers": partial(show_customers, database),
        CUSTOMER_IMPORT_PATH: ask_for_list,
        "/ops/settings": partial(show_settings, settings, database, notifier),
        _WINDOW: partial(ask_for_window, settings, database),
        _ZONE: ask_for_zone,
    }


def _list_forms(
    settings: Settings,
    writer_client: WriterClient,
    windows: SetupWindows,
    replayer: StoredReplay,
    eraser: Eraser,
    database: Database,
    jobs: ReconcileJobs,
    notifier: AlarmNotifier,
) -> dict[str, TakeForm]:
    return {
        CUSTOMER_IMPORT_PATH: partial(import_list, writer_client),
        DELIVERY_IMPORT_PATH: partial(import_bodies, jobs.deliveries),
        _WINDOW: partial(change_window, settings, writer_client, windows),
        "/ops/settings/alarm-test": partial(try_channels, notifier),
        _REPLAY: partial(replay_delivery, replayer),
        "/ops/erasure": partial(erase_chosen, eraser),
        RECOVER_PATH: partial(recover, database, settings.active_sources(), jobs),
        _ZONE: choose_zone,
    }
