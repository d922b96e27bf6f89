"""A stock moto server that says where it is, as `ipamd ec2 serve` does, and like it logs no line for each request."""

from __future__ import annotations

import json
import logging

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server


def main() -> None:
    """Serve on any port of 127.0.0.1 until killed."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
    print(json.dumps({"endpoint": f"http://127.0.0.1:{server.port}"}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
