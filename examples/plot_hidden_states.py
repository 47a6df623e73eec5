"""
Hidden states of a hymn
=======================

A hidden Markov model says that each step of a sequence depends on a hidden state, and each state on the one before.
Here a step is a chord: for every key of a keyboard whether it sounds. The tune is "Old Hundredth" (Geneva, 1551), in
four voices and in seven keys; a drawn piece stands beside it as a piano roll.

The model knows which chords there are and which follows which, and little further back: nearly all chords of the drawn
piece, and moves from one to the next, are those of the hymn, but phrases do not end where those of the hymn do, and the
piece changes its key where two keys share a chord.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from sklearn_dgm import HiddenMarkovDensity

# The four phrases: notes of the tune, and the chord under each.
TUNE = "G G F# E D G A B | B B B A G C' B A | G A B A G E F# G | D' B G A C' B A G"
CHORDS = "G G D Em G Em D G | G Em G D G C G D | Em D G D Em C D G | G Em C D Am G D G"
NOTES = {"D": 62, "E": 64, "F#": 66, "G": 67, "A": 69, "B": 71, "C'": 72, "D'": 74}
TRIADS = {"G": (7, 11, 2), "D": (2, 6, 9), "Em": (4, 7, 11), "C": (0, 4, 7), "Am": (9, 0, 4)}
LOWEST, HIGHEST = 36, 80


def voices(note, chord):
    """Return the notes of four voices: the root in the bass, and the next two notes of the chord below the tune."""
    triad = TRIADS[chord]
    below = [n for n in range(note - 1, LOWEST, -1) if n % 12 in triad]
    bass = next(n for n in range(55, LOWEST, -1) if n % 12 == triad[0])
    return [note, *below[:2], bass]


def hymn(transposed):
    """Return the hymn as flags of keys, of shape (n_steps, n_keys)."""
    tune, chords = (line.replace("| ", "").split() for line in (TUNE, CHORDS))
    roll = np.zeros((len(tune), HIGHEST - LOWEST + 1), dtype=bool)
    for step, (name, chord) in enumerate(zip(tune, chords, strict=True)):
        roll[step, np.array(voices(NOTES[name], chord)) - LOWEST + transposed] = True
    return roll


pieces = [hymn(transposed) for transposed in range(-3, 4)]
N_STATES = 96
density = HiddenMarkovDensity(
    N_STATES, length="given", alpha=0.01, transition_alpha=0.01, random_state=0
).fit(pieces)
independent = HiddenMarkovDensity(1, length="given", alpha=0.01).fit(pieces)
(drawn,) = density.sample(random_state=3)

n_steps = sum(map(len, pieces))
known = {chord.tobytes() for piece in pieces for chord in piece}
pairs = {piece[t : t + 2].tobytes() for piece in pieces for t in range(len(piece) - 1)}
in_hymn = np.mean([chord.tobytes() in known for chord in drawn])
moves = np.mean([drawn[t : t + 2].tobytes() in pairs for t in range(len(drawn) - 1)])
print(
    f"log-density of a chord: {density.score(pieces) / n_steps:.1f} nats, "
    f"{independent.score(pieces) / n_steps:.1f} without states"
)
print(f"drawn chords that are in the hymn: {in_hymn:.0%}; moves between two that are: {moves:.0%}")

fig, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
for ax, roll, title in zip(axes, (pieces[3], drawn), ("Old Hundredth", "Drawn"), strict=True):
    steps, keys = np.nonzero(roll)
    ax.barh(keys + LOWEST, 1, left=steps, height=1, color="tab:blue", edgecolor="white")
    ax.set(title=title, xlabel="Step (a quarter note)", xlim=(0, len(roll)))
    ax.vlines(np.arange(8, 32, 8), LOWEST, HIGHEST, color="0.8", zorder=0)
axes[0].set(ylabel="Key (MIDI number)", ylim=(LOWEST, HIGHEST))

pictures = Path("pictures")
pictures.mkdir(exist_ok=True)
fig.savefig(pictures / "hidden_states.png", dpi=120)
print("pictures/hidden_states.png: the hymn, and the drawn piece, as piano rolls.")
