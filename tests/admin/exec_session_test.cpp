#include "admin/exec_session.hpp"

#include "tests/admin/run_here.hpp"

#include <gtest/gtest.h>

#include <array>
#include <csignal>
#include <memory>
#include <optional>
#include <string>

#include <sys/socket.h>

namespace rooster::admin {
namespace {

using namespace std::chrono_literals;
using net::ExecFrame;
using net::ExecKind;
using testing::LocalProcess;

class ExecSessionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()), 0);
    client_ = Descriptor(ends[0]);
    stream_ = std::make_unique<Stream>(loop_, Descriptor(ends[1]));
  }
  void TearDown() override {
    group_.interrupt_all(Fault::Interrupted);
    for (int i = 0; i < 2000 && group_.size() > 0; ++i) loop_.run_for(5ms);
  }

  void begin(std::vector<std::string> argv, bool has_terminal = false, ExecTimes times = {}) {
    ExecSpec spec;
    spec.argv = std::move(argv);
    spec.has_terminal = has_terminal;
    spec.rows = 33;
    spec.columns = 77;
    process_ = std::make_unique<LocalProcess>(loop_, spec);
    group_.spawn(run(has_terminal, times));
  }
  void shell(const std::string& script, bool has_terminal = false, ExecTimes times = {}) {
    begin({"sh", "-c", script}, has_terminal, times);
  }
  Task<> run(bool has_terminal, ExecTimes times) {
    Waiter waiter(group_);
    ExecSession session(*stream_, *process_, has_terminal, waiter, times);
    auto end = co_await session.run({});
    end_ = *end;
    stream_->shutdown_write();
    co_return {};
  }
  void send(const std::string& frame) {
    ASSERT_EQ(::send(client_.get(), frame.data(), frame.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(frame.size()));
  }
  /// Reads until the session closes, or `until` has come on standard output.
  void read(const std::string& until = {}) {
    std::array<char, 70'000> block{};
    for (int i = 0; i < 20'000; ++i) {
      const ssize_t got = ::recv(client_.get(), block.data(), block.size(), 0);
      if (got == 0) return;
      if (got < 0) {
        loop_.run_for(2ms);
        continue;
      }
      reader_.put({block.data(), static_cast<std::size_t>(got)});
      while (const auto frame = reader_.next()) {
        if (frame->kind == ExecKind::Stdout) out_ += frame->payload;
        if (frame->kind == ExecKind::Stderr) err_ += frame->payload;
        if (const auto status = net::exec_exit_of(*frame)) status_ = *status;
      }
      if (!until.empty() && out_.contains(until)) return;
    }
    ADD_FAILURE() << "no end; got: " << out_;
  }
  void settle() {
    for (int i = 0; i < 20'000 && !end_; ++i) loop_.run_for(2ms);
    ASSERT_TRUE(end_);
  }

  Loop loop_;
  TaskGroup group_{loop_};
  Descriptor client_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<LocalProcess> process_;
  net::ExecFrameReader reader_;
  std::string out_;
  std::string err_;
  std::optional<std::uint32_t> status_;
  std::optional<ExecEnd> end_;
};

TEST_F(ExecSessionTest, KeepsOutputAndErrorsApartAndTheExactCode) {
  shell("echo out; echo err >&2; exit 42");
  read();
  EXPECT_EQ(out_, "out\n");
  EXPECT_EQ(err_, "err\n");
  EXPECT_EQ(status_, 42U);
  settle();
  EXPECT_EQ(end_->status, 42U);
  EXPECT_EQ(end_->bytes_out, 8U);
  EXPECT_FALSE(end_->client_left);
}

TEST_F(ExecSessionTest, GivesInputAndItsEnd) {
  begin({"cat"});
  send(net::encode_exec(ExecKind::Stdin, "some "));
  send(net::encode_exec(ExecKind::Stdin, "words"));
  send(net::encode_exec(ExecKind::StdinEof));
  read();
  EXPECT_EQ(out_, "some words");
  EXPECT_EQ(status_, 0U);
  settle();
  EXPECT_EQ(end_->bytes_in, 10U);
}

TEST_F(ExecSessionTest, PassesSignalsOn) {
  shell("echo ready; exec sleep 100");
  read("ready");
  send(net::encode_exec_signal(SIGSEGV));
  send(net::encode_exec_signal(SIGINT));
  read();
  EXPECT_EQ(status_, 128U + SIGINT);
  EXPECT_EQ(process_->signals, std::vector<int>{SIGINT}) << "only those that a person may send";
}

TEST_F(ExecSessionTest, GivesATerminalItsSizeAndNewSizes) {
  shell("stty size; read line; stty size; test -t 0 && test -t 1 && test -t 2 && echo tty", true);
  read("33 77");
  send(net::encode_exec_resize(50, 200));
  send(net::encode_exec(ExecKind::Stdin, "x\r"));
  read();
  EXPECT_NE(out_.find("50 200"), std::string::npos) << out_;
  EXPECT_NE(out_.find("tty"), std::string::npos) << out_;
  EXPECT_EQ(status_, 0U);
}

TEST_F(ExecSessionTest, EndsATerminalsProgramAtTheEndOfInput) {
  begin({"cat"}, true);
  send(net::encode_exec(ExecKind::StdinEof));
  read();
  EXPECT_EQ(status_, 0U);
}

TEST_F(ExecSessionTest, HangsUpWhenTheClientIsLost) {
  shell("echo ready; exec sleep 100");
  read("ready");
  client_.reset();
  settle();
  EXPECT_TRUE(end_->client_left);
  EXPECT_EQ(process_->signals, std::vector<int>{SIGHUP});
  EXPECT_EQ(end_->status, 128U + SIGHUP);
}

TEST_F(ExecSessionTest, KillsWhatIgnoresTheHangup) {
  shell("trap '' HUP; echo ready; while :; do sleep 1; done", false, {.hangup = 200ms});
  read("ready");
  client_.reset();
  settle();
  EXPECT_EQ(process_->signals, (std::vector<int>{SIGHUP, SIGKILL}));
  EXPECT_EQ(end_->status, 128U + SIGKILL);
}

TEST_F(ExecSessionTest, TakesASilentClientForLost) {
  shell("echo ready; exec sleep 100", false, {.client_silence = 300ms});
  settle();
  EXPECT_TRUE(end_->client_left);
}

TEST_F(ExecSessionTest, EndsWithTheCommandThoughAnotherHoldsItsPipes) {
  shell("echo out; sleep 1000 & exit 3", false, {.last_output = 100ms});
  read();
  EXPECT_EQ(out_, "out\n");
  EXPECT_EQ(status_, 3U);
  process_->signal(SIGKILL);
}

TEST_F(ExecSessionTest, LosesNothingToASlowClient) {
  shell("head -c 3000000 /dev/zero | tr '\\0' x");
  for (int i = 0; i < 100; ++i) loop_.run_for(2ms);
  EXPECT_FALSE(end_);
  read();
  EXPECT_EQ(out_.size(), 3'000'000U);
  EXPECT_EQ(status_, 0U);
}

TEST_F(ExecSessionTest, StopsReadingWhatTheCommandDoesNotTake) {
  shell("echo ready; sleep 1000");
  read("ready");
  const std::string frame = net::encode_exec(ExecKind::Stdin, std::string(60'000, 'x'));
  std::size_t sent = 0;
  for (int i = 0; i < 300; ++i) {
    const ssize_t put = ::send(client_.get(), frame.data() + sent % frame.size(),
                               frame.size() - sent % frame.size(), MSG_NOSIGNAL);
    if (put > 0) sent += static_cast<std::size_t>(put);
    loop_.run_for(1ms);
  }
  EXPECT_LT(sent, 200 * frame.size()) << "somebody hoards";
  client_.reset();
  settle();
}

TEST_F(ExecSessionTest, TakesAWrongFrameForALostClient) {
  shell("exec sleep 100");
  send("GET / HTTP/1.1\r\n");
  settle();
  EXPECT_TRUE(end_->client_left);
}

TEST_F(ExecSessionTest, HangsUpWhenTheNodeStops) {
  shell("echo ready; exec sleep 100");
  read("ready");
  group_.interrupt_all(Fault::Draining);
  settle();
  EXPECT_EQ(process_->signals, std::vector<int>{SIGHUP});
}

TEST_F(ExecSessionTest, AnswersPings) {
  shell("echo ready; exec sleep 100");
  read("ready");
  send(net::encode_exec(ExecKind::Ping));
  std::array<char, 100> block{};
  ssize_t got = -1;
  for (int i = 0; i < 2000 && got < 0; ++i) {
    loop_.run_for(2ms);
    got = ::recv(client_.get(), block.data(), block.size(), 0);
  }
  ASSERT_GT(got, 0);
  EXPECT_EQ(std::string(block.data(), static_cast<std::size_t>(got)),
            net::encode_exec(ExecKind::Ping));
}

TEST_F(ExecSessionTest, KillsAtOnceWhenTheCallersRightEnds) {
  shell("trap '' HUP; echo ready; sleep 100");
  read("ready");
  group_.interrupt_all(Fault::Interrupted);
  settle();
  EXPECT_EQ(process_->signals, std::vector<int>{SIGKILL});
}

}  // namespace
}  // namespace rooster::admin
