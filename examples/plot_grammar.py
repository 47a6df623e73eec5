"""
A grammar learnt from trees
===========================

A treebank is sentences with their trees. This one is made by a grammar of a few lines, from which sentences are derived
at random; so it is known what the trees of new ones should be. A :class:`ContextFreeGrammarDensity` counts the rules of
the treebank. It says how probable a sentence is, summed over all of its trees, and `predict` returns the most probable
tree, which a :class:`ParseTreeDisplay` draws.

"sees the bird with a telescope" has two trees: is it the seeing that is done with a telescope, or has the bird one? No
word decides that, but how often each rule is used. So not every new sentence gets the tree that it was derived by.

Here, where a grammar has made the sentences, a grammar expects new ones better than a bigram, which knows the word
before and nothing else. On newspapers the bigram is ahead by half a nat a word: real words choose their neighbours, and
the rules of a treebank know only their parts of speech.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from sklearn_dgm import ContextFreeGrammarDensity, MarkovChainDensity, ParseTreeDisplay

# What a node may have below it, and how often.
RULES = {
    "S": {"NP VP": 1.0},
    "NP": {"DT NN": 0.5, "DT JJ NN": 0.2, "PRP": 0.1, "NP PP": 0.2},
    "VP": {"VB": 0.2, "VB NP": 0.4, "VB NP PP": 0.3, "VB PP": 0.1},
    "PP": {"IN NP": 1.0},
}
WORDS = {
    "DT": "the a every",
    "NN": "dog cat bird child garden telescope window stick",
    "JJ": "old small grey quiet",
    "PRP": "it she somebody",
    "VB": "sees hears follows meets watches",
    "IN": "with in near behind",
}
N_SENTENCES, N_HELD_OUT = 60, 500


def derive(label, rng):
    """Return a tree below a label, in brackets, and its words."""
    if label in WORDS:
        word = str(rng.choice(WORDS[label].split()))
        return f"({label} {word})", [word]
    below = str(rng.choice([*RULES[label]], p=[*RULES[label].values()])).split()
    trees, words = zip(*(derive(child, rng) for child in below), strict=True)
    return f"({label} {' '.join(trees)})", [word for part in words for word in part]


rng = np.random.default_rng(0)
trees, sentences = zip(*(derive("S", rng) for _ in range(N_SENTENCES)), strict=True)
new_trees, new_sentences = zip(*(derive("S", rng) for _ in range(N_HELD_OUT)), strict=True)

density = ContextFreeGrammarDensity().fit(list(sentences), list(trees))
found = density.predict(list(new_sentences))
print(f"a tree of the treebank: {trees[1]}")
print(f"a sentence drawn: {' '.join(density.sample(random_state=3)[0])}")
print(f"new sentences with the tree that they were derived by: {np.mean(found == new_trees):.0%}")

n_words = sum(map(len, new_sentences))
bigram = MarkovChainDensity(2).fit(list(sentences))
for name, model in (("grammar", density), ("bigram", bigram)):
    print(f"{name}: {model.score(list(new_sentences)) / n_words:.2f} nats a word")

sentence = "she sees the small bird with a telescope near the window"
for words in (sentence.split(), sorted(sentence.split())):
    print(f"{density.score_samples([words])[0]:6.1f} nats: {' '.join(words)}")

pictures = Path("pictures")
pictures.mkdir(exist_ok=True)
display = ParseTreeDisplay.from_estimator(density, sentence.split())
display.figure_.savefig(pictures / "grammar.png", dpi=120)
plt.close("all")
print("pictures/grammar.png: the most probable tree of a new sentence.")
