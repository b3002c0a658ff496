"""FastAPI, SQLAlchemy and Alembic, as in the public course this follows. Alone it answers; its table comes
with the migration."""
import os

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel
from sqlalchemy import Column, Integer, String, create_engine
from sqlalchemy.orm import Session, declarative_base, sessionmaker
from sqlalchemy.pool import NullPool

Base = declarative_base()


class User(Base):
    __tablename__ = "users"
    id = Column(Integer, primary_key=True)
    username = Column(String, unique=True, nullable=False)


# No connection outlives its request, so that an idle app lets its database sleep.
engine = create_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
new_session = sessionmaker(bind=engine)
app = FastAPI(title="fastzero")


def session():
    with new_session() as made:
        yield made


class NewUser(BaseModel):
    username: str


@app.get("/")
def hello():
    return {"message": "Olá Mundo!"}


@app.get("/users")
def users(db: Session = Depends(session)):
    return {"users": [{"id": user.id, "username": user.username} for user in db.query(User).order_by(User.id)]}


@app.post("/users", status_code=201)
def create_user(new: NewUser, db: Session = Depends(session)):
    if db.query(User).filter(User.username == new.username).first():
        raise HTTPException(status_code=409, detail="this user exists already")
    user = User(username=new.username)
    db.add(user)
    db.commit()
    return {"id": user.id, "username": user.username}
