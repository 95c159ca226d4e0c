"""The manifests for Kubernetes, checked against the schemas of several of its versions."""

from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-not-found,import-untyped,unused-ignore]  # only `make test-image` installs it
import pytest
import yaml  # type: ignore[import-untyped]

from tests.harness.service import ROOT
from tests.harness.table import each_row

FILE = ROOT / "config/kubernetes.yaml"
VERSIONS = ("1.34", "1.35", "1.36", "1.37")


def read(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


@each_row("version", VERSIONS)
def test_kubernetes_takes_the_manifests(version: str) -> None:
    for manifest in read(FILE):
        kubernetes_validate.validate(manifest, version, strict=True)


def test_an_error_in_a_manifest_is_found() -> None:
    manifest = next(found for found in read(FILE) if found["kind"] == "Deployment")
    manifest["spec"]["template"]["spec"]["containers"][0]["livenessProbes"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
