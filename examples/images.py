"""A folder of images, a sub-folder for each class: pictures/3/17.png is a three."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

import epochal

digits = load_digits()
for number, (pixels, label) in enumerate(zip(digits.images[:600], digits.target[:600], strict=True)):
    folder = Path("pictures", str(label))
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray((pixels * 255 / 16).astype(np.uint8)).save(folder / f"{number}.png")

data = epochal.load("pictures")
print(data)
model = epochal.lenet(kernels=(8, 16), hidden=50, kernel_size=2)
for epoch in epochal.train(model, data, epochal.Recipe(learning_rate=0.1, epochs=5)):
    print(epoch)
