"""Names and numbers the released code fixed; other people's scripts import them."""

IGNORE_INDEX = -100  # label value the loss skips
X_TOKEN_INDEX = -200  # input id of one visual slot, of an image or a video (docs/original.md#11)

SYSTEM_PROMPT = "You are a helpful vision-language assistant."
IM_START, IM_END = "<|im_start|>", "<|im_end|>"
IMAGE_TOKEN = "<|image_token|>"
VIDEO_TOKEN = "<|video_token|>"
X_TOKEN = {"image": IMAGE_TOKEN, "video": VIDEO_TOKEN}
