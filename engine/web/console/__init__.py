"""The console: what an operator needs instead of a database client. Off unless a login is configured.

accounts    who may enter, and as what
gate        whoever is not signed in goes no further; whoever only reads changes nothing
signing     sign in and out
pages       how a view becomes a page
lists       one page of calls, events or records, by what has an index
searching   one text, looked for everywhere it could be an id
shown       a request, an answer and a value as a page shows them
calls       the journal; one call as a timeline, and what may be done with it
events      the inbox; one event, and replaying it
replays     many events, with a bar
records     every record type
uses        what can be done with a record
types       request types
trying      a form to try each of them
webhooks    endpoints at the gateways
charts      outcomes and latency of the newest calls
overview    the first page, and what needs a person
routes      the blueprint
"""
