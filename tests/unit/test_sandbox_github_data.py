"""The emulated Git data API: what git itself would say of blobs and trees, and GitHub's refusals."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.server import Sandbox, serve

REPO = "/repos/acme/checkout"


class Caller:
    def __init__(self, sandbox: Sandbox, http: httpx.AsyncClient) -> None:
        self.github = sandbox.world.github
        self._http = http
        self._base = sandbox.api_url("github")

    async def __call__(self, method: str, path: str, status: int, **json: Any) -> Any:
        response = await self._http.request(
            method, f"{self._base}{REPO}{path}", json=json or None, headers={"authorization": "Bearer t"}
        )
        assert response.status_code == status, response.text
        return response.json() if response.content else None


@pytest.fixture
async def call() -> AsyncIterator[Caller]:
    async with serve() as sandbox, httpx.AsyncClient() as http:
        sandbox.world.github.ensure_repo("acme/checkout")
        sandbox.world.github.push(
            "acme/checkout", "main", message="more", files={"src/a.py": "one\n", "src/b/c.txt": "two\n"}
        )
        yield Caller(sandbox, http)


def head(call: Caller) -> str:
    return call.github.repos["acme/checkout"].branches["main"]


async def test_shas_are_those_of_git(call: Caller, tmp_path: Path) -> None:
    def git(*words: str) -> str:
        command = ["git", *words]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=30)
        return done.stdout.strip()

    git("init", "-q")
    for path, content in call.github.repos["acme/checkout"].files(head(call)).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "run.sh").chmod(0o755)
    git("add", "-A")
    wanted = git("write-tree")
    base = await call("GET", f"/git/commits/{head(call)}", 200)
    item = {"path": "run.sh", "mode": "100755", "type": "blob", "content": "#!/bin/sh\n"}
    made = await call("POST", "/git/trees", 201, base_tree=base["tree"]["sha"], tree=[item])
    assert made["sha"] == wanted
    listed = git("ls-tree", wanted).splitlines()
    assert [f"{row['mode']} {row['type']} {row['sha']}\t{row['path']}" for row in made["tree"]] == listed


async def test_from_blob_to_branch(call: Caller) -> None:
    sha = (
        await call("POST", "/git/blobs", 201, content=base64.b64encode(b"\0\1").decode(), encoding="base64")
    )["sha"]
    assert base64.b64decode((await call("GET", f"/git/blobs/{sha}", 200))["content"]) == b"\0\1"
    base = (await call("GET", f"/git/commits/{head(call)}", 200))["tree"]["sha"]
    items = [
        {"path": "src/x.bin", "mode": "100644", "type": "blob", "sha": sha},
        {"path": "src/a.py", "mode": "100644", "type": "blob", "sha": None},
    ]
    tree = (await call("POST", "/git/trees", 201, base_tree=base, tree=items))["sha"]
    commit = await call("POST", "/git/commits", 201, message="m", tree=tree, parents=[head(call)])
    assert commit["tree"]["sha"] == tree
    ref = {"ref": "refs/heads/new", "sha": commit["sha"]}
    await call("POST", "/git/refs", 201, **ref)
    assert (await call("POST", "/git/refs", 422, **ref))["message"] == "Reference already exists"
    assert (await call("GET", "/git/ref/heads/new", 200))["object"]["sha"] == commit["sha"]
    compared = await call("GET", f"/compare/main...{commit['sha']}", 200)
    assert [(one["filename"], one["status"]) for one in compared["files"]] == [
        ("src/a.py", "removed"),
        ("src/x.bin", "added"),
    ]
    assert "patch" not in compared["files"][1]  # it is no text
    rows = (await call("GET", f"/git/trees/{tree}", 200))["tree"]
    assert [row["path"] for row in rows] == ["README.md", "src"]
    inner = (await call("GET", f"/git/trees/{rows[1]['sha']}", 200))["tree"]
    assert [row["path"] for row in inner] == ["b", "x.bin"]
    assert call.github.snapshot()["repos"]["acme/checkout"]["commits"]


async def test_a_comparison_shows_patches_renames_and_at_most_300_files(call: Caller) -> None:
    start = head(call)
    call.github.push("acme/checkout", "work", message="w", files={"src/a.py": "one\nmore\n"})
    (changed,) = (await call("GET", f"/compare/{start}...work", 200))["files"]
    assert changed["patch"] == "@@ -1 +1,2 @@\n one\n+more"
    assert (changed["additions"], changed["deletions"]) == (1, 0)
    tree = (await call("GET", f"/git/commits/{start}", 200))["tree"]["sha"]
    blob = (await call("POST", "/git/blobs", 201, content="one\n"))["sha"]
    items = [
        {"path": "moved.py", "mode": "100644", "type": "blob", "sha": blob},
        {"path": "src/a.py", "mode": "100644", "type": "blob", "sha": None},
    ]
    moved = (await call("POST", "/git/trees", 201, base_tree=tree, tree=items))["sha"]
    commit = (await call("POST", "/git/commits", 201, message="m", tree=moved, parents=[start]))["sha"]
    (renamed,) = (await call("GET", f"/compare/{start}...{commit}", 200))["files"]
    assert (renamed["status"], renamed["previous_filename"]) == ("renamed", "src/a.py")
    call.github.push("acme/checkout", "many", message="m", files={f"f{n}": "x\n" for n in range(301)})
    assert len((await call("GET", f"/compare/{start}...many", 200))["files"]) == 300


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/git/trees", {"tree": [{"path": "../x", "mode": "100644", "content": "a"}]}),
        ("/git/trees", {"tree": [{"path": ".GIT/x", "mode": "100644", "content": "a"}]}),
        ("/git/trees", {"tree": [{"path": "x", "mode": "100644", "sha": None}]}),
        ("/git/trees", {"tree": [{"path": "x", "mode": "100644", "sha": "0" * 40}]}),
        ("/git/trees", {"tree": []}),
        ("/git/commits", {"message": "m", "tree": "0" * 40}),
        ("/git/refs", {"ref": "refs/tags/x", "sha": "0" * 40}),
        ("/git/refs", {"ref": "refs/heads/x", "sha": "0" * 40}),
        ("/git/blobs", {"content": "*", "encoding": "base64", "odd": 1}),
    ],
)
async def test_what_github_refuses(call: Caller, path: str, body: dict[str, Any]) -> None:
    await call("POST", path, 422, **body)
