"""Write the Python modules of proto/rpc.proto: `python proto/generate.py DIRECTORY`.

Four files, the same bytes on every run with the same grpcio-tools and mypy-protobuf: rpc_pb2.py (messages),
rpc_pb2.pyi (their types), rpc_pb2_grpc.py (services), rpc_pb2_grpc.pyi (their types). The modules are members
of the package ipamd.rpc, so the top-level import that protoc writes is made a relative one.
"""

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

SOURCE = Path(__file__).resolve().parent
MODULES = ("rpc_pb2.py", "rpc_pb2.pyi", "rpc_pb2_grpc.py", "rpc_pb2_grpc.pyi")
TOP_LEVEL_IMPORTS = (
    ("import rpc_pb2 as rpc__pb2", "from . import rpc_pb2 as rpc__pb2"),
    ("import rpc_pb2 as _rpc_pb2", "from . import rpc_pb2 as _rpc_pb2"),
    ("import rpc_pb2\n", "from . import rpc_pb2\n"),
)


def generate(directory: Path) -> None:
    """Write the four modules into an existing directory. SystemExit when protoc refuses the source."""
    scripts = Path(sys.executable).parent
    arguments = [
        "protoc",
        f"--proto_path={SOURCE}",
        f"--proto_path={files('grpc_tools') / '_proto'}",
        f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
        f"--python_out={directory}",
        f"--mypy_out={directory}",
        f"--grpc_python_out={directory}",
        f"--mypy_grpc_out={directory}",
        "rpc.proto",
    ]
    code = protoc.main(arguments)
    if code != 0:
        raise SystemExit(f"protoc ended with code {code} on {SOURCE / 'rpc.proto'}: see its message above")
    for name in MODULES:
        module = directory / name
        text = module.read_text()
        for top_level, relative in TOP_LEVEL_IMPORTS:
            text = text.replace(f"\n{top_level}", f"\n{relative}")
        module.write_text(text)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        raise SystemExit("usage: python proto/generate.py DIRECTORY   (one that exists, e.g. ipamd/rpc)")
    generate(Path(sys.argv[1]))
