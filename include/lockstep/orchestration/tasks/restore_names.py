"""What the tasks of a restore are called."""

DAG_ID = "restore"
CHOOSE = "choose"
PLAN = "plan"
APPROVE = "approve"
BACK_UP = "back_up"
PUT_BACK = "put_back"
