"""Grammars as those of NLTK."""

# From which the symbols of whole sequences follow, if none of them is called so.
START = "START"


def nltk_grammar(rules, symbols, words):
    """Return a grammar as one of NLTK.

    Parameters
    ----------
    rules : Rules
        The grammar.
    symbols : list of str
        Names of its symbols, each of them once.
    words : list of str
        Words.

    Returns
    -------
    grammar : nltk.PCFG
        With a symbol more, from which one of the symbols of whole sequences follows.

    Raises
    ------
    ImportError
        If NLTK is not installed.
    """
    try:
        from nltk import PCFG, Nonterminal, ProbabilisticProduction
    except ImportError as error:
        raise ImportError("to_nltk needs NLTK; install it with `pip install nltk`.") from error
    nonterminals = [Nonterminal(name) for name in symbols]
    name = START
    while name in symbols:
        name += "'"
    start = Nonterminal(name)
    made = [
        ProbabilisticProduction(start, [nonterminals[k]], prob=p)
        for k, p in enumerate(rules.root.tolist())
        if p > 0
    ]
    of_rules = zip(rules.parent, rules.left, rules.right, rules.p.tolist(), strict=True)
    made += [
        ProbabilisticProduction(nonterminals[a], [nonterminals[b], nonterminals[c]], prob=p)
        for a, b, c, p in of_rules
        if p > 0
    ]
    for k, of_words in zip(rules.emitters, rules.words, strict=True):
        made += [
            ProbabilisticProduction(nonterminals[k], [word], prob=p)
            for word, p in zip(words, (rules.emits[k] * of_words).tolist(), strict=True)
            if p > 0
        ]
    made += [
        ProbabilisticProduction(nonterminal, [words[code]], prob=1.0)
        for nonterminal, code in zip(nonterminals, rules.literals.tolist(), strict=True)
        if code >= 0
    ]
    return PCFG(start, made)
