"""The command lines of the small chain that the tests share (see the fixture ``chain``)."""

# The smallest network, few pixels, both views, enough patients for validation: seconds for the whole chain.
TRAINING = ["--image-size", "32", "--init", "none", "--set", "architecture=densenet-tiny", "--set", "views=any"]
TRAINING += ["--set", "optimizer=adam", "--set", "lr=0.01", "--set", "validation=0.3", "--batch-size", "8"]

# In the order in which they can be made, each with -o and its name.
MAKE = {
    "cnn.h5": ["train", "--task", "pleural", "nih:set", *TRAINING, "--epochs", "2", "--seed", "1"],
    "maps.h5": ["saliency", "-m", "cnn.h5", "nih:set"],
    "ig.h5": ["finetune-ig", "-m", "cnn.h5", "maps.h5", "--epochs", "1"],
    "cnn.emb.h5": ["embed", "-m", "cnn.h5", "nih:set"],
    "ig.emb.h5": ["embed", "-m", "ig.h5", "nih:set"],
    "cnnig.emb.h5": ["embed", "-m", "cnn.h5", "maps.h5"],
    "ssim.emb.h5": ["embed", "-m", "ssim", "--image-size", "32", "nih:set"],
    "cnn.idx.h5": ["index", "cnn.emb.h5"],
    "ig.idx.h5": ["index", "ig.emb.h5"],
    "cnnig.idx.h5": ["index", "cnnig.emb.h5"],
    "ssim.idx.h5": ["index", "ssim.emb.h5"],
    "ex.h5": ["explain", "ig.idx.h5", "ig.emb.h5", "--split", "split.tsv", "-k", "2"],
}
TABLES = {
    "split.tsv": ["split", "cnn.emb.h5", "--task", "pleural", "--catalogue", "6", "--seeds", "1,2"],
    "ranks.csv": ["phantom", "set", "--rank", "split.tsv"],
    "cnn.tsv": ["query", "cnn.idx.h5", "cnn.emb.h5", "--split", "split.tsv"],
    "ig.tsv": ["query", "ig.idx.h5", "ig.emb.h5", "--split", "split.tsv"],
}
