"""
How many topics?
================

Latent Dirichlet allocation finds the topics of documents, and how probable it makes documents that it has not seen
tells how many topics there are. The `perplexity` of scikit-learn's class does not tell: it depends on how many
documents are scored at once, and of few documents it prefers few topics.
"""

# %%
# The data
# --------
# Documents that are made of six themes, of which each has words of its own beside those that all have in common. Most
# documents are of one or two themes.
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import LatentDirichletAllocation
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from sklearn_dgm import LatentDirichletAllocationDensity, TopicsDisplay

pictures = Path("pictures")
pictures.mkdir(exist_ok=True)

THEMES = """
wheat corn grain harvest farmer crop acres bushels soybean planting drought yield silo export tonnes barley
rain storm wind cloud forecast snow temperature thunder sunshine humid frost flood pressure cyclone drizzle gale
goal match league striker referee penalty coach season stadium defender keeper transfer cup squad derby fans
bank interest loan credit inflation currency bond deposit deficit central reserve dollar exchange debt lending rate
kitchen recipe butter oven sugar flour salt garlic pepper simmer roast dough onion sauce spoon boil
ship port cargo vessel harbour captain freight anchor dock crew voyage canal tanker pilot container shipping
"""
COMMON = "year week report said people new part number day group time early late high low change"

rng = np.random.default_rng(0)
themes = [theme.split() for theme in THEMES.strip().splitlines()]
common = COMMON.split()
words = np.array([word for theme in themes for word in theme] + common)
topics = np.zeros((len(themes), len(words)))
for k, theme in enumerate(themes):
    topics[k, np.isin(words, theme)] = 0.7 * rng.dirichlet(np.ones(len(theme)))
    topics[k, -len(common) :] += 0.3 * rng.dirichlet(np.ones(len(common)))
    topics[k] += 0.1 * rng.dirichlet(np.full(len(words), 0.1))  # some words are of several themes
topics /= topics.sum(axis=1, keepdims=True)


def documents(n_documents):
    shares = rng.dirichlet(np.full(len(topics), 0.15), n_documents)
    lengths = rng.negative_binomial(3, 3 / (3 + 40), n_documents) + 3
    return [
        " ".join(rng.choice(words, n, p=share @ topics))
        for n, share in zip(lengths, shares, strict=True)
    ]


texts = documents(800)
print(texts[0][:70], "...")

# %%
# How many topics there are
# -------------------------
# Both classes are fitted with several numbers of topics. A tenth of the documents is held out.
N_TOPICS = [1, 2, 3, 4, 5, 6, 7, 8, 10, 14]
train, test = train_test_split(texts, test_size=80, random_state=0)
counter = CountVectorizer()
X_train, X_test = counter.fit_transform(train), counter.transform(test)

ours, theirs = [], []
for n_topics in N_TOPICS:
    density = LatentDirichletAllocationDensity(n_topics, random_state=0).fit(X_train)
    peer = LatentDirichletAllocation(n_topics, max_iter=30, random_state=0).fit(X_train)
    ours.append(density.perplexity(X_test))
    theirs.append([peer.perplexity(X_test[:n]) for n in (80, 20, 5)])
theirs = np.array(theirs)

# %%
# What scikit-learn's class computes contains a term of the prior of the topics, which is as large whatever documents
# are scored, and divides it by the number of their words
# (`scikit-learn#20032 <https://github.com/scikit-learn/scikit-learn/issues/20032>`_). The more topics, the larger it
# is; the fewer documents, the more it weighs. Of newswire (1,554 documents of Reuters with 2,406 words, 20 topics) it
# makes a perplexity of 1,364 of 604 test documents, 191,780 of 100 of them, and infinity of a single one, where that of
# the 100 is 544 by an unbiased estimate of their probabilities; and it prefers 5 topics, where 50 are better than 20.
figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.6), layout="constrained")
axes[0].plot(N_TOPICS, ours, marker="o")
axes[0].axvline(len(topics), color="grey", linestyle=":", label="there are 6")
axes[0].set(title="LatentDirichletAllocationDensity.perplexity", ylabel="perplexity")
for column, n in zip(theirs.T, ("80 documents", "20 of them", "5 of them"), strict=True):
    axes[1].plot(N_TOPICS, column, marker="o", label=n)
axes[1].axvline(len(topics), color="grey", linestyle=":")
axes[1].set(title="scikit-learn's", yscale="log")
for ax in axes:
    ax.set_xlabel("topics")
    ax.legend()
figure.savefig(pictures / "topics_perplexity.png", dpi=100)
print("Saved", pictures / "topics_perplexity.png")

best = N_TOPICS[int(np.argmin(ours))]
print(f"Ours is lowest with {best} topics.")
for column, n in zip(theirs.T, (80, 20, 5), strict=True):
    lowest = N_TOPICS[int(np.argmin(column))]
    print(f"scikit-learn's of {n} documents: lowest with {lowest}, with 14 {column[-1]:,.0f}.")

# %%
# Ours of several documents lies between those of each.
density = LatentDirichletAllocationDensity(best, random_state=0).fit(X_train)
print("Three documents:", *(f"{density.perplexity(x):.1f}" for x in X_test[:3]), end="; ")
print(f"all of them: {density.perplexity(X_test[:3]):.1f}.")

# %%
# The topics
# ----------
# Counting words and finding topics is one pipeline. It starts at random, and may end with two themes in one topic: of
# three fits that is taken by which the held-out documents are the most probable. A display shows the words.
fits = [
    make_pipeline(CountVectorizer(), LatentDirichletAllocationDensity(best, random_state=seed))
    for seed in range(3)
]
pipeline = max((fit.fit(train) for fit in fits), key=lambda fit: fit.score(test))
display = TopicsDisplay.from_estimator(pipeline)
display.figure_.savefig(pictures / "topics_words.png", dpi=100)
print("Saved", pictures / "topics_words.png")

# %%
# Odd documents
# -------------
# A score is the log-probability of the counts, so that it finds documents which are of no theme in particular. Words
# that are all drawn from different themes are less probable than those of usual ones of the same length.
usual = documents(50)
odd = [" ".join(rng.permutation(" ".join(usual).split())[: len(text.split())]) for text in usual]
gap = pipeline.score_samples(usual) - pipeline.score_samples(odd)
print(f"{np.mean(gap > 0):.0%} of documents are more probable than shuffled ones of their length.")
