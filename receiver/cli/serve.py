from datetime import timedelta

import click

from receiver import logs, writer
from receiver import settings as s
from receiver.storage import schema
from receiver.storage.database import Database
from receiver.web.app import create_app
from receiver.web.server import make_server


@click.command()
def migrate():
    st = s.load()
    d = Database(st.database_url)
    d.take()
    print(schema.migrate(d))
    d.close()


@click.command()
def serve():
    st = s.load()
    logs.configure(st.log_format, st.secrets())
    d = Database(st.database_url)
    d.take()
    schema.check(d)
    d.close_readers()
    process, channel = writer.start(d, timedelta(hours=st.max_future_hours))
    writer.tune_gc()
    make_server(create_app(st, d, channel, lambda: None), st).run()
    process.join(10)
