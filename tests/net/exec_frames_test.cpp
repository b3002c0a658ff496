#include "net/exec_frames.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace rooster::net {
namespace {

std::vector<ExecFrame> read_all(std::string_view bytes, std::size_t piece) {
  ExecFrameReader reader;
  std::vector<ExecFrame> frames;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    reader.put(bytes.substr(at, piece));
    while (auto frame = reader.next()) frames.push_back(std::move(*frame));
  }
  EXPECT_FALSE(reader.is_broken());
  return frames;
}

TEST(ExecFrames, ComeOutAsTheyWentInHoweverTheyAreCut) {
  const std::string bytes = encode_exec(ExecKind::Stdin, "ls\n") + encode_exec(ExecKind::StdinEof) +
                            encode_exec_resize(50, 200) + encode_exec_signal(2) +
                            encode_exec_exit(130) + encode_exec(ExecKind::Error, "why");
  for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
    const auto frames = read_all(bytes, piece);
    ASSERT_EQ(frames.size(), 6U);
    EXPECT_EQ(frames[0], (ExecFrame{ExecKind::Stdin, "ls\n"}));
    EXPECT_EQ(frames[1], (ExecFrame{ExecKind::StdinEof, ""}));
    EXPECT_EQ(exec_resize_of(frames[2]), (ExecSize{50, 200}));
    EXPECT_EQ(exec_signal_of(frames[3]), 2);
    EXPECT_EQ(exec_exit_of(frames[4]), 130U);
    EXPECT_EQ(frames[5].payload, "why");
  }
}

TEST(ExecFrames, CutWhatIsTooLongIntoSeveral) {
  const std::string text(kMaxExecFrameBytes * 2 + 1, 'x');
  const auto frames = read_all(encode_exec(ExecKind::Stdout, text), 1000);
  ASSERT_EQ(frames.size(), 3U);
  EXPECT_EQ(frames[0].payload + frames[1].payload + frames[2].payload, text);
}

TEST(ExecFrames, RefuseUnknownKindsAndLengthsBeyondTheBound) {
  for (const std::string& wrong :
       {std::string("\0\0\0\0\0", 5), std::string("\x0b\0\0\0\0", 5), std::string("\1\0\1\0\1", 5),
        std::string("\1\xff\xff\xff\xff", 5)}) {
    ExecFrameReader reader;
    reader.put(wrong);
    EXPECT_EQ(reader.next(), std::nullopt);
    EXPECT_TRUE(reader.is_broken());
  }
  EXPECT_EQ(exec_resize_of({ExecKind::Resize, "abc"}), std::nullopt);
  EXPECT_EQ(exec_signal_of({ExecKind::Signal, ""}), std::nullopt);
  EXPECT_EQ(exec_exit_of({ExecKind::Stdout, "abcd"}), std::nullopt);
}

TEST(ExecFrames, SurviveAnyBytes) {
  std::mt19937 random(7);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same bytes each time
  for (int round = 0; round < 2000; ++round) {
    ExecFrameReader reader;
    std::string bytes(random() % 40, '\0');
    for (char& c : bytes) c = static_cast<char>(random() % 12);
    reader.put(bytes);
    std::size_t count = 0;
    while (reader.next()) ++count;
    EXPECT_LE(count, bytes.size() / kExecHeadBytes);
  }
}

}  // namespace
}  // namespace rooster::net
