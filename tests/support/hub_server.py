"""A server on loopback that speaks the part of the Hugging Face Hub's protocol which its own clients use.

huggingface_hub, transformers and datasets talk to it unchanged (HF_ENDPOINT points at it); nothing is mocked. It serves
repositories from folders: refs, repository info, file trees with LFS hashes, and files by revision with HEAD, ranges,
entity tags, redirects for large files, and the Hub's error codes. It knows no tokens, no writing and no Xet.

``make_tiny_hub`` fills it with tiny random models laid out as Pythia and Amber are, and one dataset.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

LFS_SUFFIXES = (".safetensors", ".bin", ".parquet", ".gguf", ".model")


@dataclass(frozen=True)
class StoredFile:
    """Content of one file with the two names that git and LFS give it."""

    data: bytes
    lfs: bool

    @property
    def git_sha1(self) -> str:
        return hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.git_sha1


@dataclass
class Repository:
    """Files by commit, and the names that point to commits."""

    refs: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, StoredFile]] = field(default_factory=dict)

    def commit_of(self, revision: str) -> str | None:
        commit = self.refs.get(revision) or self.tags.get(revision) or revision
        return commit if commit in self.commits else None


class HubServer:
    """Serves repositories until stopped; also a context manager.

    Attributes:
        url: value for HF_ENDPOINT, known once started.
        requests: (method, path) of every request so far.
    """

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.requests: list[tuple[str, str]] = []
        self._server: ThreadingHTTPServer | None = None

    def add(self, repo_id: str, revision: str, folder: Path, *, repo_type: str = "model", tag: bool = False) -> str:
        """Serves a copy of a folder's files as a revision (``main``, a branch, ``refs/convert/parquet``, a tag)."""
        files = {
            path.relative_to(folder).as_posix(): StoredFile(path.read_bytes(), path.name.endswith(LFS_SUFFIXES))
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        content = json.dumps([repo_id, revision, {name: file.sha256 for name, file in files.items()}])
        commit = hashlib.sha1(content.encode()).hexdigest()
        repository = self.repositories.setdefault((repo_type, repo_id), Repository())
        repository.commits[commit] = files
        (repository.tags if tag else repository.refs)[revision] = commit
        return commit

    @property
    def url(self) -> str:
        assert self._server is not None, "start the server first"
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def storage_url(self) -> str:
        """Where large files are: another host by name, as on the Hub (clients follow redirects within a host)."""
        return self.url.replace("127.0.0.1", "localhost")

    def start(self) -> HubServer:
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.stop()

    def environment(self, home: Path) -> dict[str, str]:
        """Environment for a client process: this server is its Hub, ``home`` its cache (take it before ``stop``)."""
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
        return keep | {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }


class _Refusal(Exception):
    """An answer of 404 with the Hub's error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Tests read ``HubServer.requests`` instead."""

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.requests.append((self.command, self.path))
        try:
            status, headers, data = self._route(body)
        except _Refusal as refusal:
            status, headers = 404, {"X-Error-Code": refusal.code, "X-Error-Message": str(refusal)}
            data = json.dumps({"error": str(refusal)}).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _route(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        url = urlsplit(self.path)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        match parts:
            case ["lfs", sha256]:
                return self._content(self._lfs_file(sha256))
            case ["api", ("models" | "datasets") as kind, owner, name, *rest]:
                return self._api(kind[:-1], f"{owner}/{name}", rest, query, body)
            case ["datasets", owner, name, "resolve", revision, *path]:
                return self._resolve("dataset", f"{owner}/{name}", revision, "/".join(path))
            case [owner, name, "resolve", revision, *path]:
                return self._resolve("model", f"{owner}/{name}", revision, "/".join(path))
        raise _Refusal("EntryNotFound", f"no such page: {self.path}")

    def _repository(self, kind: str, repo_id: str) -> Repository:
        repository = self.hub.repositories.get((kind, repo_id))
        if repository is None:
            raise _Refusal("RepoNotFound", "Repository not found")
        return repository

    def _files(self, kind: str, repo_id: str, revision: str) -> tuple[str, dict[str, StoredFile]]:
        repository = self._repository(kind, repo_id)
        commit = repository.commit_of(revision)
        if commit is None:
            raise _Refusal("RevisionNotFound", f"Invalid rev id: {revision}")
        return commit, repository.commits[commit]

    def _api(
        self, kind: str, repo_id: str, rest: list[str], query: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        match rest:
            case ["refs"]:
                return _json(_refs(self._repository(kind, repo_id)))
            case [] | ["revision", _]:
                commit, files = self._files(kind, repo_id, rest[1] if rest else "main")
                return _json(_info(repo_id, commit, files))
            case ["tree", revision, *path]:
                commit, files = self._files(kind, repo_id, revision)
                return _json(_tree(files, "/".join(path), query.get("recursive", "").lower() in ("true", "1")))
            case ["paths-info", revision]:
                commit, files = self._files(kind, repo_id, revision)
                entries = {entry["path"]: entry for entry in _tree(files, "", True)}
                return _json([entries[path] for path in _wanted_paths(body) if path in entries])
        raise _Refusal("EntryNotFound", f"no such page: {self.path}")

    def _resolve(self, kind: str, repo_id: str, revision: str, path: str) -> tuple[int, dict[str, str], bytes]:
        commit, files = self._files(kind, repo_id, revision)
        if path not in files:
            raise _Refusal("EntryNotFound", f"Entry not found: {path}")
        file = files[path]
        if not file.lfs:
            status, headers, data = self._content(file)
            return status, headers | {"X-Repo-Commit": commit}, data
        headers = {
            "Location": f"{self.hub.storage_url}/lfs/{file.sha256}",
            "X-Repo-Commit": commit,
            "X-Linked-Etag": f'"{file.etag}"',
            "X-Linked-Size": str(len(file.data)),
        }
        return 302, headers, b""

    def _lfs_file(self, sha256: str) -> StoredFile:
        for repository in self.hub.repositories.values():
            for files in repository.commits.values():
                for file in files.values():
                    if file.lfs and file.sha256 == sha256:
                        return file
        raise _Refusal("EntryNotFound", "no such object")

    def _content(self, file: StoredFile) -> tuple[int, dict[str, str], bytes]:
        headers = {"ETag": f'"{file.etag}"', "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        asked = self.headers.get("Range")
        if asked is None:
            return 200, headers, file.data
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start = int(first) if first else len(file.data) - int(last)
        end = min(int(last), len(file.data) - 1) if first and last else len(file.data) - 1
        if start >= len(file.data):
            return 416, headers | {"Content-Range": f"bytes */{len(file.data)}"}, b""
        return 206, headers | {"Content-Range": f"bytes {start}-{end}/{len(file.data)}"}, file.data[start : end + 1]


def _json(value: object) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


def _wanted_paths(body: bytes) -> list[str]:
    if body.startswith(b"{"):
        paths = json.loads(body).get("paths", [])
        return [paths] if isinstance(paths, str) else paths
    return parse_qs(body.decode()).get("paths", [])


def _refs(repository: Repository) -> dict[str, object]:
    converts = {name: commit for name, commit in repository.refs.items() if name.startswith("refs/convert/")}
    branches = {name: commit for name, commit in repository.refs.items() if name not in converts}
    return {
        "branches": [_ref(name, f"refs/heads/{name}", commit) for name, commit in branches.items()],
        "converts": [_ref(name.split("/")[-1], name, commit) for name, commit in converts.items()],
        "tags": [_ref(name, f"refs/tags/{name}", commit) for name, commit in repository.tags.items()],
    }


def _ref(name: str, ref: str, commit: str) -> dict[str, str]:
    return {"name": name, "ref": ref, "targetCommit": commit}


def _info(repo_id: str, commit: str, files: Mapping[str, StoredFile]) -> dict[str, object]:
    date = "2026-01-01T00:00:00.000Z"
    return {
        "_id": commit[:24],
        "id": repo_id,
        "modelId": repo_id,
        "author": repo_id.split("/")[0],
        "sha": commit,
        "createdAt": date,
        "lastModified": date,
        "private": False,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "siblings": [{"rfilename": name} for name in files],
    }


def _tree(files: Mapping[str, StoredFile], folder: str, recursive: bool) -> list[dict[str, object]]:
    prefix = f"{folder}/" if folder else ""
    below = {name: file for name, file in files.items() if name.startswith(prefix)}
    if folder and not below:
        raise _Refusal("EntryNotFound", f"{folder} does not exist")
    entries: list[dict[str, object]] = []
    folders: set[str] = set()
    for name, file in below.items():
        inner = name.removeprefix(prefix).split("/")
        parents = ["/".join([*([folder] if folder else []), *inner[:depth]]) for depth in range(1, len(inner))]
        folders.update(parents if recursive else parents[:1])
        if recursive or len(inner) == 1:
            entry: dict[str, object] = {"type": "file", "oid": file.git_sha1, "size": len(file.data), "path": name}
            if file.lfs:
                entry["lfs"] = {"oid": file.sha256, "size": len(file.data), "pointerSize": 134}
            entries.append(entry)
    return [{"type": "directory", "oid": "0" * 40, "size": 0, "path": name} for name in sorted(folders)] + entries


# --- content -------------------------------------------------------------------------------------------------------


def make_tiny_hub(folder: Path) -> HubServer:
    """A server (not started) with tiny random models laid out as published ones are, and one dataset.

    - ``EleutherAI/pythia-14m``: GPT-NeoX, safetensors, tokenizer in every branch; steps 0, 1 and 2 equal, as published;
      1000, 2000, 3000, 143000 = ``main``; ``step4000`` serves the weights of ``step2000``; ``step5000`` has none;
      ``main`` has pickled weights beside the safetensors.
    - ``IFM/Amber`` (the alias; ``LLM360/Amber`` answers 404): Llama, two pickled shards a branch, ``ckpt_000`` to
      ``ckpt_002``, tokenizer on ``main`` only; ``ckpt_001`` and ``ckpt_002`` share their first shard.
    - dataset ``example/reviews``: parquet on ``refs/convert/parquet`` (``default/train``, ``default/validation``).

    Args:
        folder: an empty folder for the files.
    """
    hub = HubServer()
    _add_pythia(hub, folder / "pythia")
    _add_amber(hub, folder / "amber")
    _add_dataset(hub, folder / "reviews")
    return hub


N_VOCAB = 320
SMALL = {
    "vocab_size": N_VOCAB,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
"""Shape of the models, for the tokenizer below."""


def train_tokenizer(folder: Path) -> None:
    """Writes a byte-level BPE tokenizer of 320 tokens (tokenizer.json, tokenizer_config.json) into a folder."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=N_VOCAB,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = ["a fine and funny film.\npositive\n\n\n", "dull, long and cold.\nnegative\n\n\n", "the cat sat on the mat"]
    tokenizer.train_from_iterator(texts * 20, trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(folder)


def _add_pythia(hub: HubServer, folder: Path) -> None:
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    config = GPTNeoXConfig(**SMALL, max_position_embeddings=2048)
    seeds = {"step0": 0, "step1": 0, "step2": 0, "step1000": 1, "step2000": 2, "step3000": 3, "step4000": 2}
    seeds |= {"step5000": 5, "step143000": 143, "main": 143}
    for revision, seed in seeds.items():
        torch.manual_seed(seed)
        branch = folder / revision
        model = GPTNeoXForCausalLM(config).half()  # stored in half precision, as Pythia is
        model.save_pretrained(branch)
        train_tokenizer(branch)
        if revision == "step5000":
            (branch / "model.safetensors").unlink()
        if revision == "main":  # two formats, as published: a client should take one
            torch.save(model.state_dict(), branch / "pytorch_model.bin")
        hub.add("EleutherAI/pythia-14m", revision, branch)


def _add_amber(hub: HubServer, folder: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**SMALL, max_position_embeddings=2048)
    for revision, seeds in {"ckpt_000": (1, 2), "ckpt_001": (3, 4), "ckpt_002": (3, 5), "main": (6, 7)}.items():
        branch = folder / revision
        config.save_pretrained(branch)
        states = []
        for seed in seeds:
            torch.manual_seed(seed)
            states.append(LlamaForCausalLM(config).state_dict())
        names = list(states[0])
        weight_map = {}
        for number, state in enumerate(states, start=1):
            shard = f"pytorch_model-0000{number}-of-00002.bin"
            part = names[: len(names) // 2] if number == 1 else names[len(names) // 2 :]
            torch.save({name: state[name] for name in part}, branch / shard)
            weight_map |= dict.fromkeys(part, shard)
        index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
        (branch / "pytorch_model.bin.index.json").write_text(json.dumps(index))
        if revision == "main":
            train_tokenizer(branch)
        hub.add("IFM/Amber", revision, branch)


def _add_dataset(hub: HubServer, folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for split, count in {"train": 40, "validation": 12}.items():
        rows = {
            "idx": list(range(count)),
            "sentence": [f"{'a fine film' if row % 3 else 'dull and long'} number {row}" for row in range(count)],
            "label": [int(row % 3 > 0) for row in range(count)],
        }
        path = folder / "default" / split / "0000.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table(rows), path)
    main = folder.with_name("reviews-main")
    main.mkdir()
    (main / "README.md").write_text("# Reviews\n")
    hub.add("example/reviews", "main", main, repo_type="dataset")
    hub.add("example/reviews", "refs/convert/parquet", folder, repo_type="dataset")
