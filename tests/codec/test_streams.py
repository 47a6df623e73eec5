"""A stream that is not as it was, or of another model, is an error and never wrong rows."""

import pickle
import zlib

import pytest
import torch
from sklearn.base import clone

from sklearn_dgm.codec import _blocks
from sklearn_dgm.codec._stream import MAGIC, START, VERSION
from tests.codec.tables import (
    DENSITIES,
    assert_same,
    codec_of,
    discrete_table,
    mixed_table,
)


def small_stream():
    table = mixed_table(12, 3)
    table.loc[4, "city"] = "unheard of"  # which is stored apart
    codec = codec_of("three orders", mixed_table)
    return codec, table, codec.encode(table)


def test_every_flipped_byte_is_an_error():
    codec, table, stream = small_stream()
    assert_same(codec.decode(stream), table)
    for position in range(len(stream)):
        for bits in (1, 0x80, 0xFF):
            broken = bytearray(stream)
            broken[position] ^= bits
            with pytest.raises(ValueError, match="stream"):
                codec.decode(broken)


def test_every_truncated_stream_is_an_error():
    codec, _, stream = small_stream()
    for length in range(len(stream)):
        with pytest.raises(ValueError, match=r"truncated|no stream"):
            codec.decode(stream[:length])
    with pytest.raises(ValueError, match="truncated or corrupted"):
        codec.decode(stream + b"\0")


def test_foreign_streams_are_an_error():
    codec, _, stream = small_stream()
    bodies = bytes(12), b"\xff" * 20, bytes(12) + b"\1\0\0", stream[START.size :] + b"\0"
    forged = [START.pack(MAGIC, VERSION, zlib.crc32(body)) + body for body in bodies]
    for foreign in (b"", b"PK\3\4" + stream, pickle.dumps(codec)[:200], bytes(100), *forged):
        with pytest.raises(ValueError, match="no stream of a DensityCodec"):
            codec.decode(foreign)
    magic, version, checksum = START.unpack_from(stream)
    later = START.pack(magic, version + 1, checksum) + stream[START.size :]
    with pytest.raises(ValueError, match="has version 2, but this DensityCodec reads version 1"):
        codec.decode(later)


def test_streams_of_other_models_are_an_error():
    table = mixed_table(50, 3)
    streams = {name: codec_of(name, mixed_table).encode(table) for name in DENSITIES}
    for name in DENSITIES:
        for other, stream in streams.items():
            if other != name:
                with pytest.raises(ValueError, match="another model"):
                    codec_of(name, mixed_table).decode(stream)
    refitted = clone(codec_of("tables", mixed_table)).fit(mixed_table(599, 0))
    with pytest.raises(ValueError, match="another model"):
        refitted.decode(streams["tables"])


@pytest.mark.parametrize("what", ["weights", "table", "counts"])
def test_a_model_that_changed_in_one_number_is_another(what):
    name = {"weights": "three orders", "table": "tables", "counts": "histogram"}[what]
    codec, rows = codec_of(name), discrete_table(30, 1)
    stream, codec = codec.encode(rows), pickle.loads(pickle.dumps(codec))
    assert_same(codec.decode(stream), rows)
    if what == "weights":
        with torch.no_grad():
            next(iter(codec.estimator_._module.members[2].parameters())).view(-1)[0] += 1e-12
    elif what == "table":
        next(iter(codec.estimator_._tables.values())).log_p[0, 0] += 1e-12
    else:
        codec.estimator_.counts_[0] += 1
    with pytest.raises(ValueError, match="another model"):
        codec.decode(stream)


def test_other_last_bits_are_an_error(monkeypatch):
    codec, rows = codec_of("three orders"), discrete_table(100, 1)
    stream = codec.encode(rows)
    monkeypatch.setattr(_blocks, "ROUNDING", 1e-6)
    with pytest.raises(ValueError, match="last bits of probabilities are others"):
        codec.decode(stream)


@pytest.mark.parametrize("name", ["three orders", "any order", "tables and networks"])
def test_number_of_threads_does_not_matter(name):
    codec, rows = codec_of(name), discrete_table(100, 1)
    n_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        stream = codec.encode(rows)
        torch.set_num_threads(1)
        assert_same(codec.decode(stream), rows)
        assert codec.encode(rows) == stream
    finally:
        torch.set_num_threads(n_threads)


def test_streams_are_never_unpickled(monkeypatch):
    codec, table, stream = small_stream()

    def refuse(*args, **kwargs):
        raise AssertionError("unpickled")

    monkeypatch.setattr(pickle, "loads", refuse)
    monkeypatch.setattr(pickle, "Unpickler", refuse)
    assert_same(codec.decode(stream), table)
