#include "cli/proxy_session.hpp"

#include "core/address.hpp"
#include "tests/cli/fake_way.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <functional>
#include <future>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <netinet/in.h>
#include <sys/un.h>
#include <unistd.h>

namespace rooster::cli {
namespace {

using namespace std::chrono_literals;

// A blocking client of a local port, v4 or v6, or of a unix socket.
class LocalClient {
 public:
  explicit LocalClient(std::uint16_t port, bool v6 = false)
      : socket_(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_storage where{};
    const socklen_t size = Endpoint{*IpAddress::parse(v6 ? "::1" : "127.0.0.1"), port}.to(where);
    bound_time();
    is_connected = ::connect(socket_.get(), reinterpret_cast<sockaddr*>(&where), size) == 0;
  }
  explicit LocalClient(const std::string& path)
      : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un where{};
    where.sun_family = AF_UNIX;
    path.copy(where.sun_path, sizeof where.sun_path - 1);
    bound_time();
    is_connected = ::connect(socket_.get(), reinterpret_cast<sockaddr*>(&where), sizeof where) == 0;
  }
  void send(const std::string& text) {
    EXPECT_EQ(::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  void reset_at_close() {
    const linger none{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
  }
  void end() { ::shutdown(socket_.get(), SHUT_WR); }
  /// Until the end, marked by "END", or "RESET".
  std::string read_all() {
    std::string text;
    std::array<char, 4096> block{};
    for (;;) {
      const ssize_t got = ::recv(socket_.get(), block.data(), block.size(), 0);
      if (got <= 0) return text + (got == 0 ? "END" : errno == ECONNRESET ? "RESET" : "SILENCE");
      text.append(block.data(), static_cast<std::size_t>(got));
    }
  }
  bool is_connected = false;

 private:
  void bound_time() const {
    const timeval patience{.tv_sec = 20, .tv_usec = 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  Descriptor socket_;
};

class ProxySessionTest : public ::testing::Test {
 protected:
  // Runs the session; `user` runs beside it once the mappings are printed, and the session is
  // stopped after it.
  int run(ProxyOptions options, const std::function<void()>& user = {}) {
    ProxySession session(loop_, way_, std::move(options),
                         {.out = out_, .err = err_, .has_colour = false});
    std::thread beside;
    // Printed lines end with a flush, which this stream buffer tells.
    out_buffer_.on_flush = [&] {
      if (beside.joinable() || !user) return;
      beside = std::thread([&] {
        user();
        loop_.post([&session] {
          session.stop();
          session.stop();
        });
      });
    };
    const int status = session.run();
    if (beside.joinable()) beside.join();
    return status;
  }

  ProxyOptions to(const std::vector<std::string>& words) {
    return {.mappings = *parse_mappings(words, "db"),
            .bind_address = {},
            .watch_input = false,
            .command = {},
            .manner = {}};
  }
  std::uint16_t port(std::size_t line = 0) const {
    std::istringstream in(out_buffer_.str());
    std::string text;
    for (std::size_t i = 0; i <= line; ++i) std::getline(in, text);
    return static_cast<std::uint16_t>(std::stoi(text.substr(text.find("localhost:") + 10)));
  }
  std::string out() const { return out_buffer_.str(); }
  std::string err() const { return err_.str(); }

  struct Buffer : std::stringbuf {
    std::function<void()> on_flush;
    int sync() override {
      if (on_flush) on_flush();
      return 0;
    }
  };

  Loop loop_;
  FakeWay way_{loop_};
  Buffer out_buffer_;
  std::ostream out_{&out_buffer_};
  std::ostringstream err_;
};

TEST_F(ProxySessionTest, CarriesBytesBothWaysAndKeepsAHalfClose) {
  way_.targets["db.internal:5432"] = {};
  std::array<std::string, 2> answers;
  bool has_v6 = false;
  const int status = run(to({"0:5432"}), [&] {
    LocalClient v4(port());
    v4.send("select 1");
    v4.end();
    answers[0] = v4.read_all();
    LocalClient v6(port(), true);
    has_v6 = v6.is_connected;
    if (!has_v6) return;
    v6.send("select 2");
    v6.end();
    answers[1] = v6.read_all();
  });
  EXPECT_EQ(status, 0) << err();
  EXPECT_EQ(answers[0], "select 1byeEND");
  if (has_v6) {
    EXPECT_EQ(answers[1], "select 2byeEND");
  }
  EXPECT_EQ(out(),
            "Proxying localhost:" + std::to_string(port()) + " to remote [db.internal]:5432\n");
  EXPECT_EQ(way_.wakes, 1) << "at the start";
}

TEST_F(ProxySessionTest, ShowsAWakeOnceHoweverManyWait) {
  way_.targets["db.internal:5432"] = {.progress = {"waking db", "db is ready"}};
  const int status = run(to({"0:5432"}), [&] {
    std::vector<std::unique_ptr<LocalClient>> clients;
    for (int i = 0; i < 50; ++i) clients.push_back(std::make_unique<LocalClient>(port()));
    for (auto& client : clients) {
      client->end();
      EXPECT_EQ(client->read_all(), "byeEND");
    }
  });
  EXPECT_EQ(status, 0);
  EXPECT_EQ(err(), "waking db\ndb is ready\n");
  EXPECT_EQ(way_.calls, 50);
}

TEST_F(ProxySessionTest, ExplainsAConnectionThatFailsOnOneLine) {
  way_.targets["db.internal:5432"] = {
      .progress = {}, .refused = Fault::WakeTimeout, .detail = "db was not ready in 60 s"};
  std::string answer;
  const int status = run(to({"0:5432"}), [&] {
    for (int i = 0; i < 5; ++i) answer = LocalClient(port()).read_all();
  });
  EXPECT_EQ(status, 0);
  EXPECT_EQ(answer, "RESET");
  const std::string line =
      "connection to db.internal:5432 failed: db was not ready in 60 s [wake_timeout]";
  EXPECT_TRUE(err().starts_with(line + '\n')) << err();
  EXPECT_NE(err().find(" more times in 10s)\n"), std::string::npos) << err();
}

TEST_F(ProxySessionTest, SaysWhyAConnectionWasLost) {
  way_.targets["db.internal:5432"] = {.progress = {}, .refused = Fault::None, .resets = true};
  way_.lost_because = "the gateway restarted";
  std::string answer;
  run(to({"0:5432"}), [&] {
    LocalClient client(port());
    client.send("x");
    answer = client.read_all();
  });
  EXPECT_TRUE(answer.ends_with("RESET")) << answer;
  EXPECT_EQ(err(), "connection to db.internal:5432 lost: the gateway restarted\n");
}

TEST_F(ProxySessionTest, EndsAtTheStartWhereTheTargetDoesNotExist) {
  way_.targets["db.internal:5432"] = {};
  EXPECT_EQ(run(to({"0:5432", "0:80", "nothing.internal"})), 1);
  EXPECT_EQ(out(), "");
  EXPECT_EQ(err(),
            "Error: connection to nothing.internal:5432 failed: no app of this name [no_route]\n"
            "Error: connection to nothing.internal:80 failed: no app of this name [no_route]\n");
}

TEST_F(ProxySessionTest, EndsAtTheStartWhereThereIsNoWay) {
  way_.open_error = "no answer by UDP or WebSocket; run rooster proxy --check";
  EXPECT_EQ(run(to({"0:5432"})), 1);
  EXPECT_EQ(err(), "Error: no answer by UDP or WebSocket; run rooster proxy --check\n");
}

TEST_F(ProxySessionTest, BindsAllPortsOrNone) {
  way_.targets["db.internal:5432"] = {};
  auto taken = bind_mappings(*parse_mappings({"0:1"}, "x"), "");
  ASSERT_TRUE(taken) << taken.error();
  const std::uint16_t port = taken->front().port;
  EXPECT_EQ(run(to({"0:5432", std::to_string(port) + ":5432"})), 1);
  EXPECT_EQ(out(), "");
  EXPECT_NE(err().find("(pid " + std::to_string(getpid()) + ")"), std::string::npos) << err();
  EXPECT_EQ(way_.wakes, 0);
}

TEST_F(ProxySessionTest, ServesAUnixSocketAndTakesItAway) {
  way_.targets["db.internal:5432"] = {};
  std::string folder = (std::filesystem::temp_directory_path() / "rooster-proxy-XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const std::string path = folder + "/pg.sock";
  // One that was left behind.
  const auto left = bind_mappings(*parse_mappings({path + ":1"}, "x"), "");
  ASSERT_TRUE(left) << left.error();
  EXPECT_FALSE(bind_mappings(*parse_mappings({path + ":1"}, "x"), "")) << "somebody listens";
  const_cast<BoundMapping&>(left->front()).listeners.clear();

  std::string answer;
  const int status = run(to({path + ":5432"}), [&] {
    EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms(0600));
    LocalClient client(path);
    client.end();
    answer = client.read_all();
  });
  EXPECT_EQ(status, 0) << err();
  EXPECT_EQ(out(), "Proxying " + path + " to remote [db.internal]:5432\n");
  EXPECT_EQ(answer, "byeEND");
  EXPECT_FALSE(std::filesystem::exists(path));

  std::filesystem::create_directory(folder + "/file");
  const auto wrong = bind_mappings(*parse_mappings({folder + "/file:1"}, "x"), "");
  EXPECT_FALSE(wrong) << "never replaces what is no socket";
  std::filesystem::remove_all(folder);
}

TEST_F(ProxySessionTest, RunsAProgramAndEndsWithItsCode) {
  way_.targets["db.internal:5432"] = {};
  way_.targets["db.internal:80"] = {};
  ProxyOptions options = to({"0:5432", "0:80"});
  options.command = {"sh", "-c",
                     "[ \"$ROOSTER_PROXY_1\" = \"localhost:$ROOSTER_PROXY_1_PORT\" ] && "
                     "[ -n \"$ROOSTER_PROXY_2_PORT\" ] && exit 7"};
  EXPECT_EQ(run(options), 7) << err();
}

TEST_F(ProxySessionTest, SaysWhyAProgramCannotBeRun) {
  way_.targets["db.internal:5432"] = {};
  ProxyOptions options = to({"0:5432"});
  options.command = {"/nowhere/program"};
  EXPECT_EQ(run(options), 127);
  EXPECT_NE(err().find("/nowhere/program: No such file or directory"), std::string::npos);
}

TEST_F(ProxySessionTest, WaitsForOpenConnectionsAfterTheFirstCtrlCOnly) {
  way_.targets["db.internal:5432"] = {};
  ProxySession session(loop_, way_, to({"0:5432"}),
                       {.out = out_, .err = err_, .has_colour = false});
  std::thread beside;
  std::string answer;
  out_buffer_.on_flush = [&] {
    if (beside.joinable()) return;
    beside = std::thread([&] {
      LocalClient client(port());
      client.send("x");
      std::promise<void> is_open;
      // Not stopped before the connection is there.
      std::function<void()> look = [&] {
        if (session.connections() == 1) {
          is_open.set_value();
        } else {
          loop_.post(look);
        }
      };
      loop_.post(look);
      is_open.get_future().wait();
      ::kill(::getpid(), SIGINT);
      std::promise<void> is_waiting;
      std::function<void()> listen = [&] {
        if (err().contains("Waiting")) {
          is_waiting.set_value();
        } else {
          loop_.post(listen);
        }
      };
      loop_.post(listen);
      EXPECT_EQ(is_waiting.get_future().wait_for(30s), std::future_status::ready);
      client.end();
      answer = client.read_all();
    });
  };
  EXPECT_EQ(session.run(), 0);
  beside.join();
  EXPECT_EQ(answer, "xbyeEND");
  EXPECT_NE(err().find("Waiting for 1 open connection to end"), std::string::npos) << err();
}

TEST_F(ProxySessionTest, WritesEventsAsJson) {
  way_.targets["db.internal:5432"] = {.progress = {"waking \"db\""}};
  ProxyOptions options = to({"0:5432"});
  options.manner.as_json = true;
  run(options, [] {});
  std::istringstream lines(out());
  std::string line;
  bool has_progress = false;
  bool has_mapping = false;
  while (std::getline(lines, line)) {
    if (line == R"({"event":"progress","remote":"db.internal:5432","text":"waking \"db\""})") {
      has_progress = true;
    }
    if (line.starts_with(R"({"event":"proxying","local":"localhost:)")) has_mapping = true;
  }
  EXPECT_TRUE(has_mapping && has_progress) << out();
}

TEST_F(ProxySessionTest, ForgetsAClientThatResetsDuringTheWake) {
  way_.targets["db.internal:5432"] = {.progress = {"waking db"},
                                      .refused = Fault::None,
                                      .detail = {},
                                      .resets = false,
                                      .is_silent = true};
  ProxySession* running = nullptr;
  ProxySession session(loop_, way_, to({"0:5432"}),
                       {.out = out_, .err = err_, .has_colour = false});
  running = &session;
  std::thread beside;
  bool is_forgotten = false;
  out_buffer_.on_flush = [&] {
    if (beside.joinable()) return;
    beside = std::thread([&] {
      {
        LocalClient client(port());
        for (int i = 0; i < 2000 && way_.calls == 0; ++i) std::this_thread::sleep_for(5ms);
        client.reset_at_close();
      }
      std::promise<void> looked;
      int turns = 0;
      std::function<void()> look = [&] {
        is_forgotten = running->connections() == 0;
        if (is_forgotten || ++turns > 200'000) {
          looked.set_value();
        } else {
          loop_.post(look);
        }
      };
      loop_.post(look);
      looked.get_future().wait();
      loop_.post([&] {
        running->stop();
        running->stop();
      });
    });
  };
  session.run();
  beside.join();
  EXPECT_TRUE(is_forgotten);
  EXPECT_EQ(err(), "waking db\n") << "nobody is told of a client's own leaving";
}

}  // namespace
}  // namespace rooster::cli
