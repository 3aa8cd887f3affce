"""Those who are asked before something is done, and told afterwards: webhooks, and plug-ins in this process.

Rules: all of them get the same document and give the same reply (`documents.py`); how it reaches them is each one's own
(`webhooks.py`, `plugins.py`); `receivers.py` makes one `ports.Hooks` of all. Nothing here decides when anybody is told
(`operations/notify.py`), or what is kept until he has been (`core/notices.py`). docs/hooks.md describes it for people.
"""
