"""Pages as people meet them: a real Chromium on apps served on this machine.

chromium   where the browser is, and how one is brought here where there is none
visits     one person at a page: what may be fetched, what the page must not do wrong, pictures of it
conftest   one Chromium for all tests, one fresh session of it for each
"""
