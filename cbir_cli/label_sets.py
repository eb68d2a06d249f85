"""Sets of findings that papers train and compare on, under the names that CheXpert and MIMIC-CXR-JPG give them.

A data set that calls a finding otherwise (ChestX-ray14 says Effusion, not Pleural Effusion) does not have it.
"""

CHEXPERT_14 = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
"""All observations, in the order of CheXpert's table. J. Irvin et al., CheXpert, AAAI 2019, Table 1."""

CHEXPERT_13 = CHEXPERT_14[1:]
"""Without No Finding, which is the absence of the others and is never uncertain.

N. F. Haq et al. 2021 use thirteen labels and do not say which of the fourteen they leave out; this is our choice.
"""

CHEXPERT_5 = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
"""The competition's five. J. Irvin et al., CheXpert, AAAI 2019, section 4: chosen for importance and prevalence.

They are not the five most frequent: those are Support Devices, Lung Opacity, Pleural Effusion, Edema and Atelectasis,
by positive labels in the training table.
"""
