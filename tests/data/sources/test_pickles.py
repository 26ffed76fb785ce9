"""The pickle reader: good files of Python 2 and 3, hostile files, cut files, mutants."""

import base64
import gzip
import json
import os
import pickle
import re
import subprocess
import sys
import tracemalloc
import warnings
import zlib
from pathlib import Path

import hostile_pickles
import numpy as np
import pytest
from hostile_pickles import CODE, HOSTILE, MARKER
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns import share
from epochal.data.sources.arrays.pickles import read_pickle
from epochal.errors import DataError
from fuzzing import mutants
from work import at_most, processor_seconds

PROTOCOLS = range(6)
KINDS = ["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]
PLACE = re.compile(r"the file: byte \d[\d,]*: [^\n]+; [^\n]+")


def _pair(rows: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(4 * rows, dtype=np.float32).reshape(rows, 4) / 256, np.arange(rows, dtype=np.int64)


# The values below were pickled with this very code by CPython 2.7.18 and numpy 1.16.6 (`pickle` and `cPickle`, each
# protocol; a text that is not ASCII is `unicode` there, but for the file name), and by CPython 3.11.7 and numpy 1.26.4.
# The name of a file says value, module, protocol; its bytes are compressed by zlib, then written in base64.
GENUINE = {
    "mnist": (_pair(3), _pair(2), _pair(2)),
    "cifar": {
        "data": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "labels": [6, 9],
        "batch_label": "batch 1 of 5",
        "filenames": ["a_1.png", "caf\xe9.png"],
    },
    "other": [
        np.arange(3, dtype=">i2"),
        np.asfortranarray(np.arange(4.0).reshape(2, 2)),
        np.array(2.5),
        np.zeros((0, 3)),
        np.float32(1.5),
        np.bool_(True),
        np.array([True, False]),
        np.float16([1, 2]),
        "caf\xe9",
        2**63 - 1,
        -(2**40),
        -1.5,
        None,
        True,
        300,
        70000,
        {5: ()},
        [(1, 2, 3, 4)],
        "x" * 1100,
    ],
}

PYTHON_2 = {
    "mnist pickle 0": (
        "eNrFkk1vgzAMhu/+FbvBZVXsJBA0Ku3KpYf1OmkqlKFKaxsxKq3/fjZQmnXTeqm2Q1D8Fb9+TBxXu8PWH2fVvq1n28Nbt1m17eoIL21d7X"
        "fvXXuoOvAKxjzYrYe4R4gLBZ0nWEZlBF7z3cCTt+yXmIbCsCuBsXDdHX0NPoV4Gb0aLnDA9Zza+YzLUPU1yyjnECIsFoviHqE/0gYJykIp"
        "Tnj+UOrn49RD6MhPl8c8zAmMVWhUoVGHhlLzs4Fn4266qbmoFgRooGx4lubEBy00fSCRKdOJDnscND2OjZPqbOJBilMJAyBE34CQvg5kOn"
        "glTr/Fpb+skiyU/E14uHBASocByYnqbByQhvVrBQ2v9m83J3+jcNR0sQutB6laflRtJ6nsSaAhhNsAlf6pPOoEmM4ugBk1qDDIKgx9BWb0"
        "/wAzfXN7Acwko9RUpLoAmMluC8xKO4sCzMr7VsPsE2EtPQ4="
    ),
    "cifar pickle 0": (
        "eNo1ULuOgzAQ7Pcr6ExzyGsgCZ/ghiK0kdBizF0kHhYYKUj5+Owml2Ike2bXM560Dxoa1VF0f+1InR8VBPwyCSbLkJRMGdga9dY3vuWQjq"
        "EAewKyFRBLPUVioQQ371M4MresPpv2Md5pXemAdvVumbe47i5COEH6mYO5/+jhDKnVEMNFvPmlis+o4RoQWREYsLmQ5t8D+ngEz2k5TaN2"
        "lOCcSQNP81gpu2zES416iniGuq7tD8IbYoYX6KyWAm4PrRnIMIycUTDk6yhRjIaOvzncRz/T5KUEg9KCMbxNLWZh/hUyB2qUo+H28NWXK7"
        "ii7AXJ+mVC"
    ),
    "other pickle 0": (
        "eNrtVE2L20AMveuP2JcNo/mSB5bungqGJYcGeiqUiZOYhWx2cBzYQP9w/0Ul2xu7cbdQ6DFDBjsj6elJeuN8nxRUh9NLOi+q12a7eDnt2+"
        "fYNPEM35tt9Xo4ts2paiEh5L0fHDa9PWnISwVtMrDK1hkky+8OviTP5+xeGv5PAzps2nPaQiogX2XPmr0DcDD7tQkVB2Efsco+sQ01LJfL"
        "8g6h25IEDaxLpdjh25tSk43DUzBRKKCDdawZrn4niB7qzkKSqBjoaeAfHwaoO1a7ghG0utDSyN5aD7TuxWhmtLQVWjin9U/78WPjTj38Jb"
        "J4FFpOiPjrqjX1VetC6gh91W3NFf2xj9NtBdZ0s8VrWKN7WGMY1tihmdwzGbdxMCYQDC+HxBgfiOxYxX1s2JFHMIzBStyoDivqsDgZg52r"
        "w7I6phVV6kEchacVSVoPsR5zrFGsNOaQFtkw5PjBRqdmORwOOSTYiXSctMBZ+L1BzvUNcl6sdFEbnxRsCWP7O+kKWGCjV9ed9tgDeS2Xyk"
        "yAvH3XrKjeu0shXnJ6mjTLF7NCfJhepftOgOxJYiOZ99cq7n7ygYb4FLQ2hrQyvnCWyBWKniAylgrBIXpNRNzcz3e4cBCXUS5DLA3Dx5KU"
        "kme+SWSgdKy+Y8z3iXrRyAXkY6mQODSusrfbuq3buq3/sOSDxt+lxS9IjyhB"
    ),
    "mnist pickle 1": (
        "eNqNkNtOwkAQhrcFT+sJDyie8byealVMTITEW23CxSa9NrRgSiKFvw4X3PEoPoqP4pvoblsD0Rid5J9Jdmf++XaF8MNuq9Oz/HbUsFrdZ2"
        "rWoqjW449Rw2+HLxR1feJgaRsP68k1DOEwgukaHjKErMSIcNRZxskSRtPmOvU6DY4x4ZpPJYw7zDEIExJc9blGGZPVavXhQ0WctN+Ud2/b"
        "3LVZHP1blcqM3Sn1lV6V3pTelViFsZxSUcmuYJow4wVMBAnXbKCgchJzCRRhPtAUzRssJBSLEvmUYukHxXJCUWBpGGk104oCYcUjrIrBxj"
        "W9cV1iI95o6m/YDHjsU/zrNdgiFIfot7XXjsRu4kXYC/KxU+47EfYJB4rkcIhE6OkjieMBycm/SU4JZ0MklvY6l7C/SC5+JbkkXCmSEuHa"
        "+gRGyI64"
    ),
    "cifar pickle 1": (
        "eNotjLlug0AYhFnA2Kydw85ZUm6FTJGHcFaisPSXFlqWJbHENbAUSMkD5yly4EwxmtE3mk84gta5svo9q1RuKjDazDVKoraMXuBSMIMB3g"
        "m+kIEMDfmFsgoL3Yx1N8W67U1cj5U9q75XE896o9tmsP2oLUcgLjPeFBeMpZCOxYpYjtCCH7EWkgnpSs9i8z8u7NQZjitB7pjgWjqSWdwc"
        "cSukR+wD2zRNX79/Ndvf3y4/7PecAoe5nr/AncV9TmF5rkyjajPg4YRHQUuVJXHXvOGJVlqVX3N+NmP8A0ksVUk="
    ),
    "other pickle 1": (
        "eNrtUklv00AYnXGSEoa1LGWnZXegDbazOIHQmLUkDjmMsMSlQrabypXaNM+ZSESCH8SvAIk/xJEbjD1GBEXcOOYdPId531u+8TaIHg4nB6"
        "NpOTyMB+WDyb7Y8+PYn7L38SA8HI5FPAkFA81obLijrqHpLhHIeTRAXqDAsaS7VHdzAkcy6o6YjgYMRd3T9iwcdYlLBRjHMcny6CaO9/v9"
        "7k+J9JOonQg6hsG8JUIIJRpOCpwKIqpHyut0JI2WOc6kRpqrCZyNEvXdBs4p9fMcK6l6Cxfm1C9KdZN5a+RvOOr43lZn0cElgcszvlcS36"
        "sc16RvKVpJIxYVOe/gusDqDHktId/guJmGJMk+bmUzBLcF7gT/2Pc49Pf9mOGurjpVcU910jlKWaf7c50eBF6ekK9trAtscJSjbDww8VCN"
        "GxxmOv4R1tx4JfAoRVWgxlH/U8JOSjQ4mmrTAo8iM62gUYLHAq2Zwk8S7iZH+zfXUfktPFUBnnE8z/K/mAvwUr14nrSIg1cCW8G7gtxr6O"
        "9++4zXvaZlVSq2ZVTqjVrVtmsNw+6xzoZpNJs106xbtm3X2daXH+o1+sn7vlmn3dEyJZ/QcQul8Ta6Mpj8W3KuzOn6b3tyXx8WWGCBBf4D"
        "0BuUfwG7TN/H"
    ),
    "mnist pickle 2": (
        "eNqNj8lOwlAUhm9bnOqEA4pznXGqqJiYCIlrb8LiJl0bWjAlkeGvl0V3bArpW/goPopvoqelsFATPcl/zuKe83//7apOs9No+6bT8mpmo/"
        "Mi6xXPq/j6k1dzWs1X6XUcqYMNtvRmdfAKhbMAqqXY0PpICYzluMI1nuphPFmtSr9d0zFhqc8FTHLGlT6mBPQc1yyliOlyufz4SRU3ziRm"
        "7NDKs7i699SKjD2QuqQ30jvpg8RKjKVJBilfwqzEnO0yNw4071KatMBCnCbAokv4+h2WBvhlgUyCX/mBXyV8liWlJFNNJrISa3YP60PSRk"
        "TaFNiKSGr0721XDy3jr/zYkTBGeXcjlz2B/dglwIGbCa309xA4lDgi+PHwLBednQicjuBn/4OfS1yM4GbkcimQT+BXv8OvJW4IXujj1vwC"
        "wJyMLg=="
    ),
    "cifar pickle 2": (
        "eNotistqg0AYhZ3RmGjS+3Xp0pXgoi/RAReBfxlkHMc24O3ozEJooZs29FHzFG0xPYvDOXzfB3+HE9O6kEa95rUsdA1Gm/lGadRV0RM4+T"
        "MY4e7gxcIXgSavlEZioVrb9FOiukEnja3NXg6DnMJ80KprRzNYZUL4JytsyxPFUjifWBErEBwQbrGOBRNcuF/Y/KulmXod4oy4TXEuHMEO"
        "uNjiMhYusTdcZVn2/POXuYRjcF18k+8w7noL3BjcFhRU+1q3stEj7na4j2kp8zTp2xc80ErJ6jjvR22TXx9DVUo="
    ),
    "other pickle 2": (
        "eNrtUc1PE0EcndlusS6KIorfiPjVKlS2Qku10sUPkA72MHETL4TsLCVLAqVvO01oooFLC/U/8a/QxH/Iozfc3SlNTOONY99h5jDv/d77vT"
        "nU1kGSbrWxW2um3T2/kt5t7Mhtx/edprHhV9y9al36DVcaoIplVDfVKzRGWojZVEA/QpxjKMkoi7VwrkvclM1axUDC1rYzOM8Io0cwOIaT"
        "LBAt4kK5XC6dBIgORiQuio49RAihRMOIxCXhUS8yuewFDqMcV0IHjWltjHnB2K0FXFVjr3GMR2MLuN439oY4tifJv7DU9buo7oSFmxK3eo"
        "a3Q8M7HHcDw5Q33rETiqdbmJC41+NNhrz7HFNhMMJibTwI2QQPJR6J/9Rad50dxzfwONphDk/UDkmOVHeHp307PBO2TsjPIqbbmOFIe5FY"
        "mHiuxLMcZiT+gkyf+IWwKcVcG/Mc2dPouTD6Akc+6rSFl57ZsTVK8Eqi0Fvwdcha5Ch2WVaUOYMlZfuG420387s+2/fBd+qkQCwsS6yIz/"
        "GgQNfZ+vUdH74lThQOVmfM2Xx+3jSzmVwulzVWfvxRVZePP07TUm2Ukq9YZfFUfR0l9f0xpksw59Na0Mj+AAMMMMAZAGuV9F+0Z+CR"
    ),
    "mnist cPickle 0": (
        "eNrNUUFqwzAQvO8repMuNSvHSRzqQK+6+FBfA8FWHBFIHKGuof59t67jiJCkUNrSw8KOZiRmRlKapj24LjJHX0eHdk+70vuyg7WvzbF5Jd"
        "8aAqdg0EGz+eRdDFIjUCEqAfTiJgxZpSegE6BBvKHO1eASkIXYJgL4AotYPe2VhcgE5HmuHxX0w+9VGpGJ1Rvi9UnxKTzITstzFmoCUIbA"
        "hKAOAeLyDNQZPIwbLjlpZTmlvQg/G8OT7cPu0iDs/Pthx1Ff8PE9/sM2yWvG08F43P+ancLftn+rz8Voi+wcfqak2yUo/J8tKPVbNZBTMU"
        "Tv+BAZsg=="
    ),
    "cifar cPickle 0": (
        "eNo1j71uhDAQhPt5CjrTBHn5uYRHcENxtCehxZjkJAMWGOmQ8vBZ7nLFV+zMeL2TDoHQqp6j/ek8984rhPytJJQsY1KJVGBr1dPfZCqR+l"
        "DBXMCmBos1cGQxLrDzPoUjs8vqsmn38c7ryge61dll3uK624jwifSVwzy8/PCF1GhE+VghXkMtIwk5TIH4Hx7iERwCaaSt2klBXkhK4nRm"
        "Czn7V6FpGvNBeCIbe6O1GLeH1gIJuVAIpSDdYi/3j3fvZp7c2Y7ysx6d67ijLMzfp1iCW2V5vD1c/dYq6Z79AQstXLg="
    ),
    "other cPickle 0": (
        "eNrtVU1rg0AQvc8fWS+R/VBXITQ5FYTgoUJPhTIxiQRMspgNJNA/3H/RyWrTpY2FQo8ODovszHszbwYNGiOg2p925hJWh3Yd7k6N3WLb4g"
        "Ve23V12B9te6osGAlBFwf7VXdvFAQ5B1uyJQP7ZCJ6FeQKbB+5shezBhNDULKtZEDRFEGhiQsr2QODoijyiQDnBLbMOaeLlzPnnov+JAy7"
        "xJpqqb+R655cAj22dpSb1KNMe8rpPUrxk/JPPh++3PDZL5npfLCjrOvI1inc1cT3aBhG8F4ZEoImc0NzCQOTP1bYYAtGUF4vZeRJKeSwln"
        "6ZFZ91JSjA+gtrKXysqMd6G8ASHUQM97tLbnO3NWHdlHIbMyyK9tK6Bv31FL8uy+cspm7yjuO5ws076ZUBLjIpldKSqySNI63jlOsFIOXz"
        "LIuFSKTWOgF8nIiQmirwun2YK4LFXHN+PYOVkVQLFWaPGDRGClfudbkV5BFYIyUgluw82mijjfYPxugfTx/q8AOkFPoi"
    ),
    "mnist cPickle 1": (
        "eNrT0EjOK80tqNRLzi9K1cstzSnJTCwqSqzkii9KTc7PKy4pKk0u4SpkhCrjykuBSBcyaXgzlIQyJpUEFTJreDNqeDN7s5RAFaWUVBakch"
        "WyaIQypZl4M3gzAhWxAlWEMtr4+fl5/QcCMAE0IcnTwIAr1IABDBqsgYQNA4MDEDcA8QIgPgDED4CYwZaBQQCIFYDYwLYkKYNRIwPJDWwQ"
        "N5RkgCzNtIBayo7PUgkGKGCE0kxQuiSpRAPNeA6w8UxAL2awgjUrEHIxhgs5IUaUZLCDDRBAtx2LrVyU28pN2NaSQh49AFITeEc="
    ),
    "cifar cPickle 1": (
        "eNotjEFugzAURDEQEpy0uQJLr1BY5BCpJRaV/jJCtjFtJDB8871Aag/cU7SIdBajGc3TfCMTcNSKzGfTK217jOG01aIqxq64YgLZNsyY3n"
        "EnZCZzC2mrSGFmXBimpTSjt+UQenoo79XCG2/N6GbywRDHvXhi3LXPGQ9CRgRM0zvmQjIhY5nQP9TSMlmOXEAcKhlJtkJHIRNgX3Vdv/2u"
        "2mx90LfLhUMWsThJd6Qh7x69dWqwM57u+CJgr5qqnNwHvsLBqO5ny2cbyj9jiFAr"
    ),
    "other cPickle 1": (
        "eNrtUctOwkAUnRkK1lFBfG5dlkRJWx6FhAg7A4NdGJu4IaYtJSXhNWVIJNEP8is08YdcutNhWhK1snPZs5hZ3HPPPffcHoWKO1mMZ8uiOw"
        "284ngxYkM7COwlvg88dzqZs2DhMkxRRMOTflimKYUAZkGH3VBJIVAhKRZR+mw58zBNKxYa6gQQyCkZXrfgpWmanU8O8fB+p62q2MoAACBA"
        "zPGR4n/T3RK6iCDmr8QGtUhMFmKNP8Q0bJ2Bn2iF33sz/OVWbMw2H1PwZWFFDllSnIWFGcDXjKh84Ibo5q49sgNMd5TQdznyvbvBtyUB8N"
        "rkhD0/anG0qCUrWh7jLXBVzf3yuB8GxvyscIggiK2RX1OEs/V5DjYmymUk0AA8j7s0D8a1B2/P9LBb1/VSydDVUrVWKRtGpaYaXdy+0NR6"
        "vaJpVd0wjCq+evkI4zRXl7k+h51ZHoInekTShXmPHnMr/LopIjF6Yt92eQoPCRIkSPAPoKde8QsZ3b63"
    ),
    "mnist cPickle 2": (
        "eNprYErOK80tqNRLzi9K1cstzSnJTCwqSqzkii9KTc7PKy4pKk0u4SpkhKjiykuByBYyeTO0hjImtQcVMmt4M3oze7O0QZWklFQWpHIVso"
        "QypZl4M3gzApWwangzhzLa+Pn5ef0HAjDhzVCS1BlqwAAGDdZAwoaBwQGIG4B4ARAfAOIHQMxgy8AgAMQKQGxgW5KUwZiBsJwNbHlrBtC2"
        "TAuobew4bZNggAJGKM0EpUuS2lCM5QAZywT0UwZrZ6gCITeiuYkTrLk1g70zVADdQnSLuCixiBu/Re2FPHoA5+V1vQ=="
    ),
    "cifar cPickle 2": (
        "eNotikFugzAURLEhJDhpcwWWrJBY5BL5EotKfxkh25g2Ehi+sRdIrdRNW/WoPUUbkc5iNKP33vkbsQL3Snr90vRSmZ44HtabV/nY5SeKMV"
        "3BTMmFNgWkkBlMWuklpdqGYVpKPTpTDqH3V+mcXETjjB7t7F3QXtD2bgnb3intIPpApr6eKCuAAYf4819p/TIZQQJ5qCACdlP2BcTIXuu6"
        "Pv/eshZEXn1jGjEeJxuvMOuuvbFyMDMdLvRQ4FY2VTnZZ3rEnZbdz7qPJpR/RUVQLA=="
    ),
    "other cPickle 2": (
        "eNrtkU1PwjAcxttu6KyK4uvVIyRKHFGQhAg3I9UdiE28ELONkZHw1jESSTR6AZnfxE+hiV/Iozfs1hkDhJvHPYf20Of/9Nenz6jKYNJs91"
        "vdQdrsOFa61W+6Dd1x9AG+cyyz0+65Tt90MUPChds1ccokAoYUGi8VJicJJNIwNNTcQdfCLEZRI0MAgdywlCQSheeappUnXMFCgGt4dAkA"
        "AAFyDRvZf4HLfiAiaGTzlPpZmKIEKYW5lDE9ANMqie2rKHalNJO/wvNTtuJRRRjkWQP2AQCRRr6JX7GgoZ6pN3UHs9WA8yTkXFvASWUAPo"
        "qjClu3gwFDDQfiwcDD/ACE3L0xRbYZVDO04x5FEMxgJ8JDn+a3+60FNB7HKQD+8NsYb8DU659vbPtVmQg9XR6px/n8qapmM7lcLosv3r9F"
        "V9r4+hCWuwkIHtkOiaV6VbYrvksissv29Jsr/s77SJEiRfoHsX0r/QO0hr+B"
    ),
}
NUMPY_1 = {
    "mnist pickle 0": (
        "eNrNU71qwzAQph1v6iN09NKgf9s0ga5eMnTwVAix44pA4gjHHrLlUfoofZQ+Su8sE6y0lHQJMVi6k+6O777vFEVl3W3dYVLummqy7Tbtet"
        "k0ywMsmqrc1fu26coWHIMhDuqVv3ccooxB6wSUi3K3qso9VDUZ4CREeQFOQb5Ztuuag9MYaODVxbgnuKeYTAUkZAqPOIOh/Ko9OKzA8TJ/"
        "V2gIyBjDn1OYxFSu+rx8ipca5vN59sSh/wkNN1BQgiUMbx3D7+/1+PzzbDp2XgLvGHgfgfcZeF/Tn4VnY+ch8B4Dj82wuxgs8caJMJ4S1Q"
        "wKi1LYE/ccLFEqBIYIeSIVTxTYnsR1Ak7oEYmCdBBxH2d/YVAk/2RwvN5dHnp/eSh2kHouJEPwktqQAgpcEWTAiFSeEakp0AyMCD9mEhnF"
        "8bmV+cCHkgxtpYhWEX7FzyRWwjekaPaVOjWEJxos6ngNrfAtG49UxQQjISslATQ7E0API6lpJLUMBdDqxgTQ2rel6VHoHndyJoBOfUOGRs"
        "/wkQBGXFEAIz1SowhGbxkSwPTYEph8AymdecY="
    ),
    "mnist pickle 1": (
        "eNqdkMlOAkEQhhvEbdxw3/et3XBwX8D9giQc+sSNwIBpEh38x+LAzUfxWeTBtAsGIdFEYyVdVZ2u+uurltJxy0/PlYhT8gqRp/IjFbOel6"
        "1YGa/glNwX8soOWRB+meXm688IyKQgBJ2MU8oXnBer4HJioU2mA0KIHELpDhMfs1R0o2gndCh0EroUumXSNLclQwTLV81T5dn09sh00PQ8"
        "HKA3YdtWwo5ahD6FflNeU41hIJVK3X8YqzlGCOe4Vpu5h6Jh76/nXC3EVYwv7N6Mq3JW5UzEhQibs2COHcegNoBDCsOEkZwWUte3G9WGeE"
        "xhvE5MmNA+YvEEk03EKYVp866/w818wU2IpgX8GPQjZnn+nMI8YSFHWJRNhiVmWFZYqTEE+ddWdX9DdfWvK2ONR6wrSMJGy4qbLL+lsF2X"
        "J+zo6YZ4+AdkRFhnV8EmRA3qXgvqPmsdKBw2UY/+g3rMI04UTglnLajnLB9TiDdQL35BvWSdK4Vrwo1BvSXcRT4BazO4mg=="
    ),
    "mnist pickle 2": (
        "eNqVkMlOAkEQhptBUUdF3FHcV9xQVBQF3E9OwqFP3AwMmCbBwX9oDty4APIWPos+mHYNiweN0U66qjrT/dVXU9VMq/z0XAmZRTsXeioXZD"
        "5t2+mK/mDnzKJVknbZlDpY65ZuZVtf4TJYDZr5YBazObOk5ywqdLhTLsZYBj0pj8qFtMxbYfTW4eHoa6CfYyBouAy30VOH3kZmZeVZvRxM"
        "aerF4zGGmi8NDHN4g0aLFsdIMpm8/1DLCQaT8GWawp2KsM56q8boJmNXcTpQeFXhnap3qliCMZ/aS2ofJDAqlNQYx7jEREYw4YwzKZTjFM"
        "e041iDX7Sk8lHMkNQsR0BJie86c46On30tVztr7Yx56rjAsSixlKljudN0hZqucqxRU41+zLrwEm39r8Nhg9CbHEGJre4w28Td4dh1uDXs"
        "iQBRfT84IkSAfY4DibByO+wwjohxzBHpup381+2U0FGOM4nzrluMuHGORNvt4he3SwJccVxL3Ci32wbuQp9mAbTK"
    ),
    "other pickle 2": (
        "eNrtUtly0lAYTgJUjGvdl7rUFbSiYNWqtOBaJS3q74YLk0lCOmGGBr7kMCMzOvYGSvsm3vkGXvSlvMNzkoYb9M5LvovkzJzzbec/a0oVUs"
        "py26utTsZqenZmtd1gdcPzjI6qe7bVdH3mtS2mQg5PqW4t3IWiSV3ELN1q1mzLV21XLFTEK7IkSSYSlQn+bxis7mYx0cMOQnIdOwlqSpO1"
        "WBe7tgVrrNPivN0VhZ+v57Bno7+OvYR9KS0WaC1gf7lcLg04go8mMUyaG048cOCQJQUHHO5xkHCI4bDpyE6Q7ojDLY8SjglLRVN6OO6EPi"
        "tzOCF8ThKmIp88To34nDb73GdaGkEx/G39LISLZBFnRISzhGmGc8MI50WEC4SLPELamRKpk0OReBGXBOkyIcWQHpKuCNJVwozILWmxHq5x"
        "qqXrZrvOx+Pqump2mO2ryKQJ1xlumP+YoW8ZDcNTkY16zyInet8kzPLezmjjWyaPmAjLrRVwW+S7Q5jr4S7hnhMJmVncF0J5wnx0gV+xMC"
        "JXEHJiU0ZRSD0gPOzhEeFxVPaJKPuUsBgMqYtnzry4JSUYLJ4LUomgMSwN72dZUMqEF9uUl1G7HF6JUER4/fd2b4J3Exft8lIRb4X6O8J7"
        "hooZtLaMla0f+LCZHIT4vhk+ssHir9/h0Mr95Rm51JqUpW/4qCXSfhWfwvcV0+IMn43KEtf/MsYYY4zxH4CqnfkDfIIMPA=="
    ),
    "mnist pickle 3": (
        "eNqNj8tOwkAUhk9bvNUbXlC84x1vFZWFiZKYdGcTFrNiR2jBDIlc/jos2LEB7Fv4KD6Kb6IzpbBQEz3JP5PMnDnfNx3Dq7dqzbblNfyKVW"
        "s9i2rJ90tts+hXvEb9RfgtT5igQZdZLw9uoTnUhW5rLow+YgxjaUdzDCfWw3jUWhbtZsXEREEnoqcsJoPXPqYYzLRjFDR5do/pfD7/+Ckr"
        "XBwSmHEDO0Nhde5UD9GDTEfmTeZd5kOGckRxmZRMJodZgTmXEw+l5rk0ijMshEZdLPKBQvUWS0phmSEhFfhP+IqEJykqLdr1aMeqQNLtYW"
        "3IWVecDYZNxdHVz7e4Gdipv+yxLbAzsk2pKbsMe+GULvZ5IrDj3yVwIHAo4UfDZ8fqWZrhZAQ//R/8TOB8BL9QUyyGywie+R1+JXAt4Td9"
        "ZK0v6gGL6Q=="
    ),
    "mnist pickle 4": (
        "eNprYJn6jZEBDHpE80pzCyr1kvOLUvVyS3NKMhOLihIrp/TwxBelJufnFZcUlSaXTJk8pYcVrHBKD3teCkTJ5CneDK1TnBmTprRPCZqi4c"
        "3ozezN0jYlg7mHNaWksiAVpIkpzWRKZwdEnrmH0WaKn5+f138gABPeDCVTkjqdDSBOabAGEjYMDA5A3ADEC4D4ABA/AGIGWwYGASBWAGID"
        "2ylAbRlMGawg+zPY4bYDOTw9TJkWCBszBLDZJ8EABdAwYGCC0iBzgR7AMJkJ7C/+TmcFQi7F7jImIEeq01kA3d6Bsa99ih4Az3CUlw=="
    ),
    "mnist pickle 5": (
        "eNprYJ16gpEBDHqE8kpzCyr1kvOLUvWAzNSizOQpPdzxaUX5uUmlaWmpRVMmT9GYZsCADBqsgYQNA4MDEDcA8QIgPgDED4CYwZaBQQCIFY"
        "DYwHZKDyvYfCCdUlJZkAo0rIcpzWRKZ0f7lKApGt7MPYw2U/z8/Lz+AwGY8GYomZLkzezN0jalh9F5SglQWQaTxjQJBlQAdT4DE5SeksHW"
        "w5RpgTA4gwubsa1TMnhBRraBDVUg0ldTMji9mUAugmgGaRXA4Z4pGcLeTPS2pX2KHgD0LXaG"
    ),
    "other pickle 5": (
        "eNprYJ3axsYABrFTNHqE8kpzCyr1kvOLUvWAzNSizOQpPdzxaUX5uUmlaWmpRVMmT9GYBtUAAowMTFN6WMG6gHRKSWVBKlBJD1Om0ZTOjv"
        "YpQVM0vJl7GO2m+Pn5ef0HAjDhzVAyJcmbuXVKD6PzlBKgogxmjWkKDFiBA4T6YA+hORymZLD3MKVZIBtvg814Jm+mNqAFbnALOFDMZQEa"
        "JKKZwQeThYkDRb0ZvJnbpkCkekSRQiS3NKckM7GoKBHoV7bi5MScRFB4gN1jgnBPhiima5xZGBgO2E9pA1mmAtKQZIjsgRosHnBmZISoBz"
        "qOCR7aUzL0vJlapyDczQJzuA0DNGiM8DsFob2HNTkx7fDKKV0c/yGgvgsSs//d9/+AGOrX4avD6FUgyMhQO8WbVbMYmEa8GYFBy+zNUjIl"
        "McIHaHvFKBgFo2AUUAFMSdUDAK1Iy7E="
    ),
}


def _file(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


def _read(data: bytes | bytearray | memoryview, **options) -> object:
    return read_pickle(data, "the file", **options)


def _refusal(data: bytes, **options) -> str:
    with pytest.raises(DataError) as refusal:
        _read(data, **options)
    assert PLACE.fullmatch(str(refusal.value)), refusal.value
    return str(refusal.value)


def _assert_same(actual: object, expected: object) -> None:
    assert type(actual) is type(expected)
    if isinstance(expected, np.ndarray | np.generic):
        np.testing.assert_array_equal(actual, expected, strict=True)
        assert actual.dtype.newbyteorder("=") == expected.dtype.newbyteorder("=")
    elif isinstance(expected, tuple | list):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            _assert_same(one, other)
    elif isinstance(expected, dict):
        assert set(actual) == set(expected)
        for key in expected:
            _assert_same(actual[key], expected[key])
    else:
        assert repr(actual) == repr(expected)


# Good files


@pytest.mark.parametrize("name", [*PYTHON_2])
def test_files_of_python_2(name):
    _assert_same(_read(_file(PYTHON_2[name])), GENUINE[name.split()[0]])


@pytest.mark.parametrize("name", [*NUMPY_1])
def test_files_of_python_3_and_numpy_1(name):
    _assert_same(_read(_file(NUMPY_1[name])), GENUINE[name.split()[0]])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", [*GENUINE])
def test_files_of_this_python(name, protocol):
    _assert_same(_read(pickle.dumps(GENUINE[name], protocol)), GENUINE[name])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", KINDS)
def test_arrays(kind, protocol):
    for order in "<>":
        base = (np.arange(24) % 2 if kind == "b1" else np.arange(24)).astype(order + kind)
        arrays = {
            "C": base.reshape(4, 6),
            "Fortran": np.asfortranarray(base.reshape(4, 6)),
            "transposed": base.reshape(2, 3, 4).transpose(1, 2, 0),
            "strided": base.reshape(4, 6)[::2, ::-1],
            "0-d": base[7:8].reshape(()),
            "one": base[:1],
            "empty": base[:0],
            "empty, 2-d": base[:0].reshape(0, 3),
            "long": np.resize(base, 3_001),
            "scalar": base[9],
        }
        for expected in arrays.values():
            actual = _read(pickle.dumps(expected, protocol))
            _assert_same(actual, expected)
            assert np.isscalar(expected) or not actual.flags.writeable


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.sampled_from(["é" * 1_500, "\n\\u0041\x00\r\x1a'\"", b"\xff\n\x00" * 800, "𝄞" * 1_000, 255, 256, 65_536, -1]),
    lambda values: (
        st.lists(values, max_size=5)
        | st.lists(values, max_size=5).map(tuple)
        | st.dictionaries(st.text() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=9), values, max_size=5)
    ),
    max_leaves=25,
)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(value=PLAIN)
@settings(deadline=None, max_examples=60)
def test_plain_values(value, protocol):
    _assert_same(_read(pickle.dumps(value, protocol)), value)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_are_views_where_the_file_holds_their_bytes(protocol):
    expected = np.arange(40_000, dtype=np.float32).reshape(100, 400)
    data = pickle.dumps({"x": expected, "y": [expected]}, protocol)
    if protocol == 2:  # as Python 2 writes it
        data = hostile_pickles.array(
            hostile_pickles.shape(100, 400), hostile_pickles.dtype("f4"), hostile_pickles.string(expected.tobytes())
        )
        data = b"}" + hostile_pickles.unicode("x") + data + b"s."
    for buffer in (data, bytearray(data), memoryview(data)):
        actual = _read(buffer)["x"]
        np.testing.assert_array_equal(actual, expected, strict=True)
        assert np.shares_memory(actual, np.frombuffer(buffer, np.uint8))
        with pytest.raises(ValueError, match="read-only"):
            actual[0, 0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            actual.flags.writeable = True


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_values_that_occur_twice(protocol):
    row, x, text = [1, 2], np.arange(3), "long" * 1_000
    value = {"a": [row, row, (row,)], "b": (x, x), "c": [text] * 50, "d": [text.encode()] * 50}
    _assert_same(_read(pickle.dumps(value, protocol)), value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_long_files_with_many_frames(protocol):
    value = [np.arange(20_000), [f"name {i}" for i in range(20_000)], {i: str(i) for i in range(5_000)}, b"b" * 70_000]
    _assert_same(_read(pickle.dumps(value, protocol)), value)


def test_a_value_may_reach_each_limit():
    nested = ()
    for _ in range(31):
        nested = (nested,)
    for value in (
        nested,
        [[] for _ in range(9_999)],
        {"k" * 1_000: None, b"k" * 1_000: None},
        list(range(300_000)),
        {-(2**63): 2**64 - 1, 2**63 - 1: -(2**63)},
    ):
        _assert_same(_read(pickle.dumps(value)), value)


def test_a_bytearray_is_read_as_bytes():
    assert _read(pickle.dumps([bytearray(b"short"), bytearray(b"long" * 999)], 5)) == [b"short", b"long" * 999]


def test_the_memory_granted_is_a_limit():
    data = pickle.dumps(np.zeros(1_000), 4)
    assert _read(data, memory_bytes=9_000).nbytes == 8_000
    assert "memory granted" in _refusal(data, memory_bytes=7_000)


@pytest.mark.data
def test_mnist_is_read_in_place():
    folder = os.environ.get("EPOCHAL_DATA")
    if folder is None or not (path := Path(folder) / "mnist.pkl.gz").exists():
        pytest.skip("EPOCHAL_DATA names no folder with mnist.pkl.gz")
    data = gzip.decompress(path.read_bytes())
    tracemalloc.start()
    splits = _read(data)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1 << 20, "nothing of the 200 MB is copied"
    assert [(x.shape, y.shape) for x, y in splits] == [((n, 784), (n,)) for n in (50_000, 10_000, 10_000)]
    assert all(np.shares_memory(array, np.frombuffer(data, np.uint8)) for split in splits for array in split)
    for split, expected in zip(splits, pickle.loads(data, encoding="latin1"), strict=True):
        _assert_same(split, expected)


# Hostile and damaged files


@pytest.mark.parametrize("case", [*HOSTILE])
def test_hostile_file_is_refused(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with at_most(seconds=5):  # under 1 each
        _refusal(HOSTILE[case])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("GLOBAL os.system", "byte 0: the global 'os.system'; only tuples, lists and dicts"),
        ("STACK_GLOBAL dotted name", "byte 28: the global 'os.path.os.system'; "),
        ("global os\x1b[2J.system", r"the global 'os\x1b[2J.system'; "),
        ("object dtype", "numpy.dtype, called with ('O8', False, True); only tuples"),
        ("array with too few bytes", "8 bytes for an array <f8 of shape (2,); 16 were expected"),
        ("BINBYTES8 2^40", "byte 2: 1,099,511,627,776 bytes expected, 4 left; the file is cut short or damaged"),
        ("bytes after STOP", "byte 1: 1 bytes after STOP; one pickle a file: save all in one tuple"),
        ("no STOP", "byte 1: the file ends before its STOP; the file is cut short or damaged"),
        ("stack too short for b'R'", "byte 0: a value or a mark is missing on the stack; the file is damaged"),
        ("one string encoded 2,000 times", "values larger than the memory granted, or than 4 times the file; "),
        ("one big-endian string in 2,000 arrays", "values larger than the memory granted, or than 4 times the file; "),
        ("update of an odd number of items", "the keys of a dict; strings to 1,000 bytes or int64 were expected"),
        ("int beyond uint64", "an integer beyond 64 bits; "),
        ("protocol 6", "byte 0: protocol 6, above 5 or in mid-file; write the file with protocol 5 or below"),
    ],
)
def test_refusal_says_place_finding_and_remedy(case, text):
    assert text in _refusal(HOSTILE[case])


def test_unknown_escape_is_an_error_where_warnings_are():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _refusal(b"S'\\q'\n.")


def _python(script: str, *arguments: str, folder: Path) -> str:
    path = os.pathsep.join(part or os.curdir for part in sys.path)
    command = [sys.executable, "-c", script, *arguments]
    run = subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


CONTROL = """
import copyreg, os, pickle
from hostile_pickles import CODE
for code in (0xF1, 0xF1F1, 0xF1F1F1):  # the EXT files'
    copyreg._inverted_registry[code] = ("os", "system")
for number, file in enumerate(CODE.values()):
    os.mkdir(str(number))
    os.chdir(str(number))
    try:
        value = pickle.loads(file)
        getattr(value, "wait", int)()
    except Exception:
        pass
    os.chdir("..")
"""


def test_hostile_code_would_run_if_it_were_unpickled(tmp_path):
    _python(CONTROL, folder=tmp_path)
    assert [case for i, case in enumerate(CODE) if not (tmp_path / str(i) / MARKER).exists()] == []


AUDIT = """
import json, resource, sys
import numpy as np
from hostile_pickles import HOSTILE, array, dtype, shape, string
from epochal.errors import DataError
from epochal.data.sources.arrays.pickles import read_pickle

read_pickle(array(shape(1), dtype("f8"), string(bytes(8))) + b".", "a good file")
before = set(sys.modules), np._core.numeric._frombuffer.__defaults__, dict(vars(np._core.numeric._frombuffer))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1 << 20 if sys.platform == "darwin" else 1 << 10)
events, loaded, megabytes = [], [], peak()
recording = True
sys.addaudithook(lambda event, arguments: events.append(event) if recording else None)
for case, file in HOSTILE.items():
    try:
        read_pickle(file, "the file")
        loaded.append(case)
    except DataError:
        pass
recording = False
after = set(sys.modules), np._core.numeric._frombuffer.__defaults__, dict(vars(np._core.numeric._frombuffer))
print(json.dumps([sorted(set(events)), loaded, before == after, peak() - megabytes]))
"""


def test_hostile_files_import_execute_open_and_grow_nothing(tmp_path):
    events, loaded, unchanged, megabytes = json.loads(_python(AUDIT, folder=tmp_path))
    assert events == ["builtins.id"]  # the reader's own, to know a container again
    assert loaded == []
    assert unchanged
    assert megabytes < 250
    assert not list(tmp_path.iterdir())


SMALL = {
    **{name: _file(text) for name, text in (PYTHON_2 | NUMPY_1).items()},
    **{f"{name} here {protocol}": pickle.dumps(GENUINE[name], protocol) for name in GENUINE for protocol in PROTOCOLS},
}


@pytest.mark.parametrize("name", [*SMALL])
def test_file_cut_at_any_byte_is_refused(name):
    for size in range(len(SMALL[name])):
        _refusal(SMALL[name][:size])


def test_mutants_follow_from_the_seed():
    one, same, other = (list(mutants([*SMALL.values()], 200, seed)) for seed in (1, 1, 2))
    assert one == same
    assert one != other


@pytest.mark.campaign
def test_mutants_are_values_or_refused():
    count = share("FUZZ", 20_000, short=2000)
    slowest, values = 0.0, 0
    for mutant in mutants([*SMALL.values()], count, seed=0):
        begun = processor_seconds()
        try:
            _read(mutant)
            values += 1
        except DataError as error:
            refusal = str(error)
        except BaseException as error:
            pytest.fail(f"{error!r} from the mutant {mutant!r}")
        slowest = max(slowest, processor_seconds() - begun)
    print(f"{count:,} mutants: {values:,} values, slowest {slowest:.4f} s; the last refusal: {refusal}")
    assert 0 < values < count
    assert slowest < 1
