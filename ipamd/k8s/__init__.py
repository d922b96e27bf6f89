"""The cluster: what ipamd reads from and writes to Kubernetes (`port`), over lightkube (`client`), and a lab to try it.

Nothing here is imported by a daemon that has no cluster.
"""
