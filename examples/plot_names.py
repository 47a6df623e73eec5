"""
Names by sex
============

A Markov chain predicts each letter of a name from the few letters before it, by counting. One for the names of girls
and one for those of boys make a classifier by Bayes' rule, and draw names that are on no list. One for both tells which
names are odd, and in which letter.
"""

# %%
# The data
# --------
# First names that are common in English, in lower case. A row is a string, and a list of them is all that is needed.
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import StratifiedKFold

from sklearn_dgm import MarkovChainDensity

pictures = Path("pictures")
pictures.mkdir(exist_ok=True)

GIRLS = """
abigail ada adela adelaide agatha agnes alana alexandra alexis alice alicia alison allison alma amanda amber amelia amy
anastasia andrea angela angelica anita ann anna annabel anne annette antonia april ariana arlene ashley astrid audrey
aurora ava barbara beatrice belinda bella bernadette bertha beth bethany betty beverly bianca bonnie brenda bridget
brooke camilla candace cara carla carmen carol carolina caroline carrie cassandra catherine cecilia celeste charlotte
chelsea cheryl chloe christina christine cindy claire clara clarissa claudia colleen constance cora cordelia corinne
courtney crystal cynthia daisy dana danielle daphne dawn deborah delia denise diana diane dolores donna dora doreen
doris dorothy edith edna eileen elaine eleanor elena eliza elizabeth ella ellen eloise elsa emily emma erica erin
esmeralda estelle esther ethel eugenia eva evelyn faith felicia fiona flora florence frances freya gabriella gail
georgia geraldine gertrude gina ginger gladys glenda gloria grace greta gwendolyn hannah harriet hazel heather heidi
helen helena henrietta hilary hilda holly hope ida imogen ingrid irene iris irma isabel isabella ivy jacqueline jane
janet janice jasmine jean jemima jennifer jenny jessica jill joan joanna jocelyn josephine joy joyce juanita judith
julia juliana julie june karen kate katherine kathleen kathryn katie kayla kelly kerry kimberly kirsten kristina lara
laura lauren leah lena leslie lilian lily linda lisa lois lola loretta lorraine louisa louise lucia lucille lucinda lucy
lydia lynn mabel madeline maggie mandy marcella marcia margaret maria marianne marie marilyn marina marion marjorie
marlene martha mary matilda maureen maxine megan melanie melissa mercedes mildred millicent minnie miranda miriam moira
molly monica muriel myra myrtle nadia nancy naomi natalie natasha nell nicole nina nora norma octavia odette olga olive
olivia ophelia paige pamela patience patricia paula pauline pearl peggy penelope philippa phoebe phyllis polly priscilla
prudence rachel rebecca regina renee rita roberta robin rosa rosalind rose rosemary roxanne ruby ruth sabrina sally
samantha sandra sara sarah selena selina serena shannon sharon sheila shirley sibyl sonia sophia sophie stacy stella
stephanie susan susanna suzanne sylvia tabitha tamara tanya teresa tess thelma theodora theresa tiffany tina tracy
trudy ursula valerie vanessa vera verity veronica victoria viola violet virginia vivian wanda wendy wilhelmina winifred
yolanda yvette yvonne zelda zoe
"""
BOYS = """
aaron abel abraham adam adrian aidan alan albert alec alexander alfred allan alvin ambrose andrew angus anthony archibald
arnold arthur aubrey august austin barnaby barry bartholomew basil benedict benjamin bernard bertram bill blake bob boris
brad bradley brandon brendan brett brian bruce bruno bryan byron caleb calvin cameron carl carlos cecil cedric chad
charles chester christian christopher clarence clark claude clayton clement clifford clifton clinton clive clyde cody
colin conrad corey craig curtis cyril dale damian daniel darrell darren darryl david dean dennis derek dermot desmond
dexter dick dirk dominic donald douglas duane dudley duncan dustin dwight earl edgar edmund edward edwin eli elias elliot
elmer enoch eric ernest ethan eugene evan everett ezra felix ferdinand fergus finn floyd francis frank franklin fred
frederick gabriel gareth garrett gary gavin geoffrey george gerald gerard gideon gilbert giles glen gordon graham grant
gregory griffith guy harold harry harvey hector henry herbert herman homer horace howard hubert hugh hugo humphrey ian
ignatius igor ira irving isaac ivan jack jacob jake jared jason jasper jay jed jeffrey jeremy jerome jim joel john jonah
jonathan jordan joseph joshua julian julius justin keith kenneth kent kevin kirk kurt kyle lance larry laurence lawrence
leo leon leonard leopold leroy lester lewis linus lionel lloyd logan lorenzo louis lucas luke luther malcolm marcus mario
mark marshall martin marvin mason matthew maurice max maximilian maxwell melvin merlin michael miles milton mitchell
morgan mortimer moses myron nathan nathaniel ned neil nelson neville nicholas nigel noah noel norbert norman oliver
omar orlando orson oscar osmond oswald otis otto owen patrick paul percival percy perry peter philip phineas quentin
quincy ralph ramon randall randolph raphael raymond reginald reuben rex reynold richard robert roderick rodney roger
roland roman ronald rory roscoe ross rowan roy rudolph rufus rupert russell ryan samson samuel saul scott sean sebastian
seth seymour shane sheldon sidney silas simon solomon spencer stanley stephen steven stewart stuart sylvester ted
terence theodore thomas timothy tobias todd tom tony travis trevor tristan troy tyler ulysses valentine vernon victor
vincent virgil wallace walter warren wayne wesley wilbur wilfred willard william winston wyatt zachary
"""
sexes = ["girls", "boys"]
names = np.array(GIRLS.split() + BOYS.split(), dtype=object)
sex = np.repeat([0, 1], [len(GIRLS.split()), len(BOYS.split())])

# %%
# Bayes' rule
# -----------
# The two densities share a schema, so that both know all letters. The difference of their scores says how much more
# probable a name is among girls; folds hold out the names that are judged. With ten times as many names, nine in ten
# are told right (see the benchmarks).


def fit_both(rows):
    schema = MarkovChainDensity().learn_schema(names)
    return [MarkovChainDensity().fit(names[rows][sex[rows] == s], schema=schema) for s in (0, 1)]


def log_odds(densities, X):
    girls, boys = (density.score_samples(X) for density in densities)
    return girls - boys


found = np.empty(len(names))
for train, test in StratifiedKFold(10, shuffle=True, random_state=0).split(names, sex):
    found[test] = log_odds(fit_both(train), names[test])
accuracy = np.mean((found < 0) == sex)
wrong = np.argsort(np.where(sex == 0, found, -found))[:4]

# %%
# Drawn names, and odd ones
# -------------------------
# Draws that are no names of the list. Beside them, names that may be odd: the surprise of each letter is
# ``-score_steps``, whose last number is that of the end.
densities = fit_both(np.arange(len(names)))
drawn = []
for density in densities:
    new = [name for name in density.sample(200, random_state=0) if name not in names]
    drawn.append([name for name in dict.fromkeys(new) if 4 <= len(name) <= 9][:8])

both = MarkovChainDensity().fit(names)
odd = ["susanna", "matthew", "xzavier", "bjqrk", "annna"]
surprise = [-steps for steps in both.score_steps(odd)]

# %%
# The picture
# -----------
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), width_ratios=(3, 2))
bins = np.linspace(-12, 12, 49)
for s, colour in enumerate(("tab:orange", "tab:blue")):
    left.hist(found[sex == s].clip(-12, 12), bins, alpha=0.6, color=colour, label=sexes[s])
left.axvline(0, color="black", linewidth=1)
left.set(
    xlabel="log-odds of a held-out name: for boys < 0 < for girls (nats)",
    ylabel="names",
    title=f"Bayes' rule over two Markov chains: {accuracy:.0%} right",
)
left.legend(title="names of")
for s, (place, side) in enumerate(((0.98, "right"), (0.02, "left"))):
    text = f"drawn for {sexes[s]}:\n" + "\n".join(drawn[s])
    left.text(place, 0.78, text, transform=left.transAxes, va="top", ha=side, fontsize=8)

longest = max(map(len, surprise))
table = np.full((len(odd), longest), np.nan)
for row, steps in zip(table, surprise, strict=True):
    row[: len(steps)] = steps
image = right.imshow(table, cmap="Reds", vmin=0, aspect="auto")
for i, (name, steps) in enumerate(zip(odd, surprise, strict=True)):
    for j, (letter, nats) in enumerate(zip([*name, "end"], steps, strict=True)):
        colour = "white" if nats > 5 else "black"
        right.text(j, i, letter, ha="center", va="center", color=colour)
right.set(title="Which letter is odd", xticks=[])
right.set_yticks(range(len(odd)), [f"{steps.sum():.1f} nats" for steps in surprise])
figure.colorbar(image, label="surprise (nats)")
figure.tight_layout()
figure.savefig(pictures / "names.png", dpi=120)

print(
    f"Of {len(names)} held-out names {accuracy:.1%} are told right; always girls: {1 - sex.mean():.1%}."
)
print(f"Surest and wrong: {', '.join(f'{names[i]} ({sexes[1 - sex[i]]}?)' for i in wrong)}.")
for s, examples in zip(sexes, drawn, strict=True):
    print(f"Drawn for {s}: {', '.join(examples)}.")
print("pictures/names.png: the log-odds of held-out names, and the surprise of letters.")
