"""A small FastAPI app. It knows nothing of Rooster: that its links say https is uvicorn reading X-Forwarded-Proto."""
import os
import time

from fastapi import FastAPI, Request

app = FastAPI(title="hello", description="An app that sleeps until somebody asks.")
started = time.monotonic()


@app.get("/")
def hello(request: Request):
    return {
        "message": "Hello, I was asleep until you asked.",
        "awake_seconds": round(time.monotonic() - started, 3),
        "process": os.getpid(),
        "links": {"docs": str(request.base_url) + "docs", "items": str(request.url_for("items"))},
    }


@app.get("/items/")
def items():
    return ["one", "two"]
