"""The parts of `python -m lvis.serve`: a page that restores a clip while you watch.

One session is one stream of a solver. `app` speaks HTTP and WebSocket, `session` runs one session on the
event loop, `restoration` does its work in a thread; `choices` is what a visitor may choose.
"""
