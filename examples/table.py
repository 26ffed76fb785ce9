"""A table: train on a CSV file, look at what was understood of it, and predict rows without labels."""

from pathlib import Path

from sklearn.datasets import load_wine

import epochal

wine = load_wine(as_frame=True)
names = wine.frame.assign(target=[wine.target_names[code] for code in wine.target])
names.to_csv("wine.csv", index=False)

data = epochal.load("wine.csv", label="target")
print(data)
print(data.preprocessing.columns[0])

recipe = epochal.Recipe(learning_rate=0.1, epochs=50, l2=0.001)
fit = epochal.fit(epochal.logistic(), data, recipe, out=Path("wine-run"))
print(f"validation {fit.best.valid}, test {fit.test()}")

again = epochal.load_run("wine-run")
for label in again.predict(data.test.x[:5]):
    print(again.classes[label])
