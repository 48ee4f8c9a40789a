"""Everything in the cartoon world that has a name: pictures and shapes, in English and Chinese.

Data only. An id is the place in OBJECTS plus one; the sprite sheet has the sprites in this order.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Thing:
    """An object with a name. `glyph` is its emoji; shapes have none, they are drawn in a colour.

    `zh_measure` is the word that Chinese puts between a number and this noun. `spin_step_deg`: the
    range of turns between two sampled frames (0.5 s) that really look like a turn, which depends
    on the symmetry of the picture. None: turning it shows nothing.
    """

    singular: str
    plural: str
    article: str = "a"
    glyph: str | None = None
    zh: str = ""
    zh_measure: str = "个"
    spin_step_deg: tuple[float, float] | None = (65.0, 110.0)

    @property
    def is_shape(self) -> bool:
        return self.glyph is None


def _thing(
    glyph: str, singular: str, zh: str, measure: str = "个", *, plural: str | None = None
) -> Thing:
    article = "an" if singular[0] in "aeiou" else "a"
    return Thing(singular, plural or singular + "s", article, glyph, zh, measure)


SPRITES: tuple[Thing, ...] = (
    # animals
    _thing("🐱", "cat", "猫", "只"),
    _thing("🐕", "dog", "狗", "只"),
    _thing("🐭", "mouse", "老鼠", "只", plural="mice"),
    _thing("🐄", "cow", "奶牛", "头"),
    _thing("🐷", "pig", "猪", "头"),
    _thing("🐑", "sheep", "绵羊", "只", plural="sheep"),
    _thing("🦓", "zebra", "斑马", "匹"),
    _thing("🦁", "lion", "狮子", "头"),
    _thing("🐘", "elephant", "大象", "头"),
    _thing("🐒", "monkey", "猴子", "只"),
    _thing("🐰", "rabbit", "兔子", "只"),
    _thing("🐸", "frog", "青蛙", "只"),
    _thing("🐼", "panda", "熊猫", "只"),
    _thing("🦊", "fox", "狐狸", "只", plural="foxes"),
    _thing("🐔", "chicken", "鸡", "只"),
    _thing("🦉", "owl", "猫头鹰", "只"),
    _thing("🐧", "penguin", "企鹅", "只"),
    _thing("🐠", "fish", "鱼", "条", plural="fish"),
    _thing("🐳", "whale", "鲸鱼", "头"),
    _thing("🐙", "octopus", "章鱼", "只", plural="octopuses"),
    _thing("🦀", "crab", "螃蟹", "只"),
    _thing("🐢", "turtle", "乌龟", "只"),
    _thing("🐍", "snake", "蛇", "条"),
    _thing("🦋", "butterfly", "蝴蝶", "只", plural="butterflies"),
    _thing("🐝", "bee", "蜜蜂", "只"),
    _thing("🐞", "ladybug", "瓢虫", "只"),
    _thing("🐌", "snail", "蜗牛", "只"),
    _thing("🦩", "flamingo", "火烈鸟", "只"),
    # food and plants
    _thing("🍎", "apple", "苹果"),
    _thing("🍌", "banana", "香蕉", "根"),
    _thing("🍓", "strawberry", "草莓", "颗", plural="strawberries"),
    _thing("🍉", "watermelon", "西瓜"),
    _thing("🍍", "pineapple", "菠萝"),
    _thing("🍋", "lemon", "柠檬"),
    _thing("🥕", "carrot", "胡萝卜", "根"),
    _thing("🍕", "pizza", "披萨", "块"),
    _thing("🍔", "burger", "汉堡"),
    _thing("🎂", "cake", "蛋糕"),
    _thing("🍄", "mushroom", "蘑菇"),
    _thing("🌻", "sunflower", "向日葵", "朵"),
    _thing("🌵", "cactus", "仙人掌", "棵", plural="cactuses"),
    _thing("🌳", "tree", "树", "棵"),
    # vehicles
    _thing("🚗", "car", "汽车", "辆"),
    _thing("🚌", "bus", "公交车", "辆", plural="buses"),
    _thing("🚲", "bicycle", "自行车", "辆"),
    _thing("✈", "airplane", "飞机", "架"),
    _thing("🚀", "rocket", "火箭", "枚"),
    _thing("⛵", "boat", "帆船", "艘"),
    _thing("🚜", "tractor", "拖拉机", "辆"),
    # things
    _thing("🏠", "house", "房子", "座"),
    _thing("☂", "umbrella", "雨伞", "把"),
    _thing("🎸", "guitar", "吉他", "把"),
    _thing("🥁", "drum", "鼓", "面"),
    _thing("🔑", "key", "钥匙", "把"),
    _thing("⏰", "clock", "闹钟"),
    _thing("📗", "book", "书", "本"),
    _thing("🎈", "balloon", "气球"),
    _thing("🔔", "bell", "铃铛"),
    _thing("👑", "crown", "皇冠", "顶"),
    _thing("👟", "shoe", "鞋", "只"),
    _thing("🤖", "robot", "机器人"),
    _thing("👻", "ghost", "幽灵"),
    _thing("⛄", "snowman", "雪人", plural="snowmen"),
    _thing("🎁", "present", "礼物", "份"),
    # and thirty more
    _thing("🐎", "horse", "马", "匹"),
    _thing("🦆", "duck", "鸭子", "只"),
    _thing("🦕", "dinosaur", "恐龙", "只"),
    _thing("🦔", "hedgehog", "刺猬", "只"),
    _thing("🦒", "giraffe", "长颈鹿", "只"),
    _thing("🦈", "shark", "鲨鱼", "条"),
    _thing("🕷", "spider", "蜘蛛", "只"),
    _thing("🐪", "camel", "骆驼", "头"),
    _thing("🦚", "peacock", "孔雀", "只"),
    _thing("🍐", "pear", "梨"),
    _thing("🍩", "donut", "甜甜圈"),
    _thing("🥐", "croissant", "羊角面包"),
    _thing("🧀", "cheese", "奶酪", "块"),
    _thing("🍆", "eggplant", "茄子"),
    _thing("🥑", "avocado", "牛油果"),
    _thing("🌹", "rose", "玫瑰", "朵"),
    _thing("🚂", "train", "火车", "列"),
    _thing("🚁", "helicopter", "直升机", "架"),
    _thing("🚚", "truck", "卡车", "辆"),
    _thing("🎺", "trumpet", "小号", "把"),
    _thing("🎻", "violin", "小提琴", "把"),
    _thing("🪑", "chair", "椅子", "把"),
    _thing("🎩", "hat", "帽子", "顶"),
    _thing("💍", "ring", "戒指", "枚"),
    _thing("🏆", "trophy", "奖杯", plural="trophies"),
    _thing("⚓", "anchor", "船锚"),
    _thing("🔨", "hammer", "锤子", "把"),
    _thing("📷", "camera", "相机", "台"),
    _thing("💡", "lamp", "灯泡"),
    _thing("🏀", "basketball", "篮球"),
)


def _shape(singular: str, zh: str, spin_step_deg: tuple[float, float] | None) -> Thing:
    return Thing(singular, singular + "s", zh=zh, spin_step_deg=spin_step_deg)


SHAPES: tuple[Thing, ...] = (
    _shape("circle", "圆形", None),
    _shape("square", "正方形", (60.0, 70.0)),
    _shape("triangle", "三角形", (60.0, 85.0)),
    _shape("star", "星星", (100.0, 116.0)),
    _shape("heart", "爱心", (65.0, 110.0)),
    _shape("diamond", "菱形", (65.0, 110.0)),
)

OBJECTS: tuple[Thing, ...] = SPRITES + SHAPES
OBJECT_BY_NAME: dict[str, Thing] = {thing.singular: thing for thing in OBJECTS}
