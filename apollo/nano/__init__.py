"""apollo-nano: its shape, its weights, and how it was trained.

Importing this package makes its tasks and its recipes known to `apollo.train`.
"""

from pathlib import Path

from apollo.train import task

RECIPES = Path(__file__).parent / "recipes"
TASKS = {
    "cartoon image": "apollo.nano.tasks:image_task",
    "cartoon video": "apollo.nano.tasks:video_task",
    "cartoon language": "apollo.nano.tasks:language_task",
    "cartoon slots": "apollo.nano.tasks:slots_task",
    "cartoon connect": "apollo.nano.tasks:connect_task",
    "cartoon joint": "apollo.nano.tasks:joint_task",
    "cartoon places": "apollo.nano.tasks:places_task",
    "cartoon polish": "apollo.nano.tasks:polish_task",
}

task.TASKS.update(TASKS)
task.RECIPES.append(RECIPES)
