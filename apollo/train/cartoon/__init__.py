"""A generated cartoon world: videos whose every fact is known, with questions and answers.

facts      the vocabulary: objects, colours, backgrounds, motions, words, positions
world      Scene and Video, and how they are sampled; which combinations are held out
layout     where everything of a scene is at a moment, in units of the frame's height
sprites    the pictures of objects and shapes, and of written words
render     frames, clips, and the labels that come with them
phrases    facts as English; templates: how questions are asked; questions: whole conversations
encode     a video file; make_sprites: rebuilds the sprite sheet from an emoji font

In: an integer seed. Out: pixels, labels and text that agree. numpy, Pillow, OpenCV; no torch.
"""
