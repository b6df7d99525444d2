"""What is generated from the .proto files is what they make, and the service has no method that nobody answers."""

import subprocess
import sys
from pathlib import Path

from gateway.rpc.aetherfs.v1 import datasets_pb2 as pb
from gateway.rpc.methods import METHODS
from gateway.rpc.service import NAME, READ_FILE

PROJECT = Path(__file__).parents[4]
PLACE = "gateway/rpc/aetherfs/v1"


def test_generated_code_is_what_make_proto_writes(tmp_path: Path) -> None:
    """As `make proto` does, but that it writes elsewhere."""
    outs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    protos = sorted(str(path.relative_to(PROJECT)) for path in (PROJECT / PLACE).glob("*.proto"))
    subprocess.run(
        [sys.executable, "-P", "-m", "grpc_tools.protoc", "-I.", *outs, *protos], cwd=PROJECT, check=True, timeout=60
    )
    made = {path.name: path.read_text() for path in (tmp_path / PLACE).iterdir()}
    assert len(made) == 3 * len(protos)
    assert made == {name: (PROJECT / PLACE / name).read_text() for name in made}


def test_every_method_of_the_service_is_answered() -> None:
    service = pb.DESCRIPTOR.services_by_name["DatasetService"]
    assert service.full_name == NAME == "aetherfs.v1.DatasetService"
    assert [method.name for method in service.methods] == [*(method.name for method in METHODS), READ_FILE]
    for method in METHODS:
        described = service.methods_by_name[method.name]
        assert described.input_type is method.request.DESCRIPTOR
        assert described.output_type is method.response.DESCRIPTOR
