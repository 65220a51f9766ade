"""The host: a Flask extension. The engine itself knows no web framework; everything that is Flask's is in here.

extension    Callsheet(app): the engine of an app, the names its templates have in reach
current      the engine of the app that is being asked
sessions     whose form it is, and the cookie that says so
headers      what a browser is told to allow
intake       a request's body, whole and no larger than allowed
forms        POST /callsheet/forms, GET /callsheet/results/<token>
sandbox      GET /callsheet/sandbox/<gateway>, where one stands in
webhooks     POST /callsheet/webhooks/<gateway>[/<endpoint>]
shortcut     the same without Flask, where the host would not notice
overview     GET /callsheet/, while somebody develops
shop         GET /callsheet/shop/, likewise
metrics      GET /callsheet/metrics, for a scraper that has the key
reference    GET /callsheet/docs/, likewise; and in the console
console      GET /callsheet/console, for those who may sign in
"""

from engine.web.current import engine_of as engine_of
from engine.web.extension import Callsheet as Callsheet

__all__ = ["Callsheet", "engine_of"]
