"""A FastAPI app for uvicorn: answers, digests, streams, a WebSocket. $LOG."""

import asyncio
import hashlib
import os

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import PlainTextResponse, RedirectResponse, StreamingResponse

app = FastAPI()


def note(line):
    with open(os.environ["LOG"], "a", encoding="utf-8") as log:
        log.write(line + "\n")


@app.on_event("startup")
async def started():
    note(f"start {os.getpid()}")


@app.on_event("shutdown")
async def stopped():
    note("exit")


@app.get("/r/{number}")
async def numbered(number: int):
    note(f"request /r/{number}")
    return PlainTextResponse(f"/r/{number} 0\n")


@app.post("/digest")
async def digest(request: Request):
    body = await request.body()
    return {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}


@app.get("/where")
async def where(request: Request):
    return {"url": str(request.url), "client": request.client.host}


@app.get("/away")
async def away(request: Request):
    return RedirectResponse(str(request.url_for("where")))


@app.get("/drip")
async def drip(pieces: int = 10, pause: float = 0.3):
    async def body():
        for number in range(pieces):
            yield f"{number}\n"
            await asyncio.sleep(pause)

    return StreamingResponse(body(), media_type="text/plain")


@app.websocket("/ws")
async def echo(websocket: WebSocket):
    await websocket.accept()
    note("request /ws")
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect as gone:
        note(f"gone {gone.code}")
