"""Sequences that are read, and the parts that they are split into."""

import gzip
import json
import zipfile

import numpy as np

# Characters of a row of text; the share of the text, at its end, that is scored.
ROW_LENGTH, TEST_SHARE = 256, 0.1
N_TEST_NAMES = 757
# The keys of a piano.
LOWEST_NOTE, N_NOTES = 21, 88


def names_by_sex(folder):
    """Return first names in lower case, sorted and each once, by the file that they are in."""
    with zipfile.ZipFile(folder / "sequences" / "nltk_names.zip") as archive:
        return {
            sex: sorted(
                {
                    line.strip()
                    for line in archive.read(f"names/{sex}.txt").decode().lower().splitlines()
                }
                - {""}
            )
            for sex in ("female", "male")
        }


def names(folder):
    """Return distinct first names in three parts: train, validation and test."""
    every = np.array(sorted({name for part in names_by_sex(folder).values() for name in part}))
    every = every[np.random.default_rng(0).permutation(len(every))].tolist()
    ends = N_TEST_NAMES, 2 * N_TEST_NAMES + 1
    return every[ends[1] :], every[ends[0] : ends[1]], every[: ends[0]]


def sexes(folder):
    """Return names that are in one file only, shuffled, and the sex of each."""
    by_sex = names_by_sex(folder)
    female, male = (set(by_sex[sex]) for sex in ("female", "male"))
    every = sorted((name, name in male) for name in female ^ male)
    order = np.random.default_rng(0).permutation(len(every))
    return [every[i][0] for i in order], np.array([every[i][1] for i in order]).astype(int)


def shakespeare(folder):
    """Return rows of characters of tiny shakespeare in two parts: train, and test, its last tenth."""
    with gzip.open(folder / "sequences" / "tinyshakespeare.txt.gz", "rt") as file:
        text = file.read()
    n_train = len(text) - round(TEST_SHARE * len(text))
    return tuple(
        [part[i : i + ROW_LENGTH] for i in range(0, len(part), ROW_LENGTH)]
        for part in (text[:n_train], text[n_train:])
    )


def chorales(folder):
    """Return chorales of Bach as flags of notes, arrays of shape (n_steps, 88), in three parts by quarter notes."""
    with gzip.open(folder / "sequences" / "jsb_chorales_quarter.json.gz", "rt") as file:
        parts = json.load(file)
    return tuple(
        [_piano_roll(piece) for piece in parts[name]] for name in ("train", "valid", "test")
    )


def _piano_roll(piece):
    roll = np.zeros((len(piece), N_NOTES), dtype=bool)
    for step, chord in enumerate(piece):
        roll[step, np.array(chord, dtype=int) - LOWEST_NOTE] = True
    return roll
