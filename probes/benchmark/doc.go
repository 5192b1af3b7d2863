// Package benchmark is the probe that asks: did the candidate lose abilities
// that the baseline has?
//
// It asks the questions of the task files in the suite's data (see
// suites/task) to both models and compares the scores question by question.
//
// How a question is asked. The prompt goes through each model's own chat
// template. In multiple-choice and log-likelihood tasks each answer is
// tokenized by itself and its ids are appended to the prompt's, so that the
// prompt's ids never depend on the answer, all answers of a question share one
// prefix and none can be scored over a token that straddles the border. The
// task's delimiter stands between the two only where no chat template does,
// unless the task file names it. Written answers are generated greedily.
//
// What is compared. Scores of 0 and 1: the difference of the two rates with
// Tango's score interval, and McNemar's exact one-sided test against "no more
// questions are lost than gained"; where questions form clusters, the interval
// is widened by the design effect and the test flips the signs of whole
// clusters. The metric margin: the mean difference with its normal interval
// and a sign-flip test. One hypothesis per task and one over all tasks with
// scores of 0 and 1.
//
// Null: the baseline's own answers to the same questions, in requests of the
// same shape. Where the control probe null has seen the baseline flip against
// itself, the margin grows by the upper bound of that rate.
//
// Cost: what the budget allows, taken evenly from the tasks; a question costs
// its prompt beyond what prompts share, plus its answers.
//
// It sees abilities that were lost (CAP) and a weaker preference for safe code
// (COD). It is blind to everything behind a trigger.
package benchmark
