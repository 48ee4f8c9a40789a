"""A generated cartoon world: videos whose every fact is known, with questions and answers.

world  what can be shown (vocabulary.toml, facts) and how videos are sampled from seeds (scenes);
       some combinations are held out from training
draw   layout -> placement -> render: frames, from sprites, backdrops and lettering; labels: the
       same as numbers, per patch and per clip; video_file: as MP4
talk   phrases: facts as text, from wordings/*.toml; questions: conversations; judge: whether an
       answer is right
bench  nano-bench; rehearsal: data that LoRA training mixes in

In: an integer seed. Out: pixels, labels and text that agree. Nothing here imports torch.
"""
