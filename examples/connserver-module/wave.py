"""A module of the ConnServer: it answers whoever waves, and tells the room."""

message = "wave"


def process(server, socket, msg):
    if "to" not in msg:
        return False
    server.room(msg["to"]).broadcast({"msg": "waved", "from": socket.uid(), "to": msg["to"]})
    msg["status"] = "0"
    socket.send(msg)
    return True
