"""A generated cartoon world: videos whose every fact is known, with questions and answers.

things     the objects and their names
facts      the rest of the vocabulary: colours, backgrounds, motions, words, positions
world      Scene and Video, and how they are sampled; which combinations are held out
layout     where everything of a scene is at a moment, in units of the frame's height
sprites    pictures of objects and shapes; backdrops: of backgrounds; lettering: of words
render     frames and clips; labels: what they show, per patch and per clip
phrases    facts as English; templates: how questions are asked
questions  whole conversations, from the parts in asking and yes_no
encode     a video file; make_sprites: rebuilds the sprite sheet from an emoji font
samples    all of it as tensors for training, the only module here that imports torch

In: an integer seed. Out: pixels, labels and text that agree.
"""
