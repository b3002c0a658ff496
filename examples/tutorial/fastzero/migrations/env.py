"""Where Alembic finds the database: DATABASE_URL, in the machine and on a laptop alike."""
import os

from alembic import context
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

engine = create_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
print("migrated: " + engine.url.render_as_string(hide_password=True))
