"""
Images: drawn, completed, and scored
====================================

A PixelCNN is a density of images: each pixel given those above and to the left. With labels it knows one distribution
for each class, which draws digits on demand; where pixels are missing, it draws them given the others; and the classes
come back by Bayes' rule.
"""

# %%
# The data
# --------
# Digits of 8 x 8 pixels and 17 levels of grey, flat, as scikit-learn has them.
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_dgm import ImagesDisplay, PixelCNNDensity, bits_per_dim

pictures = Path("pictures")
pictures.mkdir(exist_ok=True)

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=360, random_state=0)

# %%
# A density of digits
# -------------------
# All pixels are columns of one kind, which is found: whole numbers from 0 to 16. So a pixel at the border that is 0 in
# all training images has a small probability of other values, too.
density = PixelCNNDensity(max_epochs=10, random_state=0).fit(X_train, y_train)
bits = bits_per_dim(density, X_test)
print(f"Test images take {bits:.2f} bits a pixel; each of 17 levels alike would take 4.09.")

# %%
# Drawn digits
# ------------
# Two of each class.
classes = np.tile(density.classes_, 2)
drawn = density.sample(len(classes), random_state=0, y=classes)
display = ImagesDisplay.from_rows(drawn, n_columns=10, titles=classes)
display.figure_.savefig(pictures / "drawn_digits.png")
plt.close("all")
print("The picture is in pictures/drawn_digits.png.")

# %%
# Completed digits
# ----------------
# Of ten test images the lower half is missing: first the image, then what is known, then three draws. Pixels are drawn
# from top to bottom, so that given the upper half all draws of a class are worth the same.
whole = X_test[:10]
upper = whole.copy()
upper[:, 32:] = np.nan
completed = density.conditional_sample(upper, 3, random_state=0).reshape(10, 3, 64)
rows = np.concatenate([whole, upper, *completed.swapaxes(0, 1)])
display = ImagesDisplay.from_rows(rows, n_columns=10)
display.figure_.savefig(pictures / "completed_digits.png")
plt.close("all")
print("The picture is in pictures/completed_digits.png: some halves could become several digits.")

# %%
# Odd pixels
# ----------
# The score is a sum over pixels, so that it tells which of them are odd: one pixel of a test image is set to white.
odd = X_test[:1].copy()
odd[0, 8 * 3] = 16
shares = density.score_features(odd)[0]
print(f"The pixel in row 3, column 0 is white: the least probable one is in row {shares.argmin() // 8}, "
      f"column {shares.argmin() % 8}, with {shares.min():.1f} nats.")  # fmt: skip
