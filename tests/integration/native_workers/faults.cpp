// Faults of a worker's method, for tests: the field `fault` says which. With the field `once`, a path, the
// fault happens to the first who does it; whoever comes later finds the file there, and does its work: one
// more in the target's `n`.
#include "warren_plugin.hpp"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace {

bool is_first(const std::string &path) {
    const int file = open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (file < 0) {
        return false;
    }
    const std::string pid = std::to_string(getpid());
    const bool is_written = write(file, pid.data(), pid.size()) > 0;
    return close(file) == 0 && is_written;
}

void huge(warren::Call &call) {
    const std::vector<char> bytes(1 << 20, 'x');
    call.reply({{"huge", std::string_view(bytes.data(), bytes.size())}});
}

// More than a frame may have, and less than effects may.
void long_reply(warren::Call &call) {
    const std::string text(100'000, 'x');
    call.reply({{"long", text}});
}

void be_faulty(warren::Call &call, std::string_view fault, const std::string &once) {
    volatile bool goes_on = true;
    if (fault == "loop") {
        while (goes_on) {
        }
    } else if (fault == "crash") {
        volatile int *volatile nothing = nullptr;
        *nothing = 1;
    } else if (fault == "abort") {
        abort();
    } else if (fault == "exit") {
        exit(0);
    } else if (fault == "stop") {
        raise(SIGSTOP);
    } else if (fault == "wait") {
        // Until the test says so by a file.
        while (access((once + ".go").c_str(), F_OK) != 0) {
            usleep(1000);
        }
    } else if (fault == "fork") {
        // The other process comes back from the method too.
        if (fork() < 0) {
            call.fail("no process");
        }
    } else if (fault == "throw") {
        throw std::out_of_range("no place 7");
    } else if (fault == "throw-number") {
        throw 7;
    } else if (fault == "huge") {
        huge(call);
    } else if (fault == "long") {
        long_reply(call);
    } else if (fault == "echo") {
        call.reply({{"text", call.text("text")}});
    } else if (fault == "make") {
        call.create("thing", {});
    } else if (fault == "reserved") {
        call.create("thing", {{"token", 7}});
    }
}

void work(warren::Call &call) {
    const std::string once(call.text("once", ""));
    if (once.empty() || is_first(once)) {
        be_faulty(call, call.text("fault", ""), once);
    }
    const warren::Object target = call.target();
    const std::int64_t n = target.integer("n") + 1;
    call.set(target, {{"n", n}});
    call.reply({{"n", n}, {"pid", getpid()}});
}

// Ten more in the target's `n` at once, and one more in a while.
void later(warren::Call &call) {
    const warren::Object target = call.target();
    call.set(target, {{"n", target.integer("n") + 10}});
    call.schedule("work.do", static_cast<std::uint64_t>(call.integer("delay_ms")), {{"target", target}});
}

}  // namespace

WARREN_PLUGIN("faults", "1", warren::method("work.do", work, {0, 3, 1000, 0}),
              warren::method("work.slowly", work),
              warren::method("work.later", later))
