"""An in-memory Kubernetes API server over HTTP: what ipamd reads and writes, for clients that know no difference.

`catalog` says which resources there are, `storage` remembers them with their history, `rules` fills in and checks
what is written, `api` does one request upon them, `server` speaks HTTP. There are no controllers, no kubelet, no
scheduler, no authentication.
"""
