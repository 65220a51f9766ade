"""What alembic runs around the migrations: on the connection and in the transaction that it is given."""

from alembic import context

from engine.store.migrations import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE, render_as_batch=True)
context.run_migrations()
