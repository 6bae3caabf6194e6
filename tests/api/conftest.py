"""The fixtures of these tests."""

from __future__ import annotations

import pytest

from .receiver import Certificate, new_certificate


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Of a receiver of webhooks that is reached by TLS."""
    return new_certificate(tmp_path_factory.mktemp("tls"))
