"""Sets this machine up for the tests and the demo: engine, images, virtual environment, floors.

Runs on the system's Python with nothing installed, so it uses the standard library only and nothing of `agent`.
"""
