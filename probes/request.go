package probes

import (
	"encoding/json"
	"fmt"

	"github.com/weighbridge/weighbridge/runners"
)

// Request is what a transcript says was asked, in one of five forms of
// canonical JSON:
//
//	{"messages": …, "add_generation_prompt": …}  a conversation, answered greedily; where the last message is the
//	                                             assistant's, the answer was begun with it
//	{"text": …}                                  plain text, continued greedily
//	{"text": …, "tokens": […]}                   ids that no text gives (control tokens), continued greedily
//	{"render": {"messages": …}}                  a conversation, put through the chat template and no further
//	{"encode": …}                                text, turned into ids and no further
type Request struct {
	Conversation *runners.Conversation
	Text         string
	Tokens       []runners.Token
	Render       *runners.Conversation
	Encode       string
	Kind         RequestKind
}

// RequestKind names the form of a Request.
type RequestKind string

// The forms.
const (
	AskConversation RequestKind = "conversation"
	AskText         RequestKind = "text"
	AskTokens       RequestKind = "tokens"
	AskRender       RequestKind = "render"
	AskEncode       RequestKind = "encode"
)

// RequestJSON is a conversation that was answered.
func RequestJSON(c runners.Conversation) string { return canonical(c) }

// TextRequest is plain text that was continued.
func TextRequest(text string) string { return canonical(map[string]string{"text": text}) }

// TokensRequest is ids that were continued; text spells them for a reader.
func TokensRequest(text string, ids []runners.Token) string {
	return canonical(struct {
		Text   string          `json:"text"`
		Tokens []runners.Token `json:"tokens"`
	}{text, ids})
}

// RenderRequest is a conversation that was put through the chat template.
func RenderRequest(c runners.Conversation) string {
	return canonical(map[string]runners.Conversation{"render": c})
}

// EncodeRequest is text that was turned into ids.
func EncodeRequest(text string) string { return canonical(map[string]string{"encode": text}) }

func canonical(x any) string {
	b, err := json.Marshal(x)
	if err != nil { // only a malformed RawMessage can do that
		return fmt.Sprintf("%q", err)
	}
	return string(b)
}

// ParseRequest reads a request of a transcript.
func ParseRequest(s string) (*Request, error) {
	var x struct {
		runners.Conversation
		Text   *string               `json:"text"`
		Tokens []runners.Token       `json:"tokens"`
		Render *runners.Conversation `json:"render"`
		Encode *string               `json:"encode"`
	}
	if err := json.Unmarshal([]byte(s), &x); err != nil {
		return nil, fmt.Errorf("request of a transcript: %w", err)
	}
	switch {
	case len(x.Messages) > 0:
		return &Request{Kind: AskConversation, Conversation: &x.Conversation}, nil
	case x.Text != nil && len(x.Tokens) > 0:
		return &Request{Kind: AskTokens, Text: *x.Text, Tokens: x.Tokens}, nil
	case x.Text != nil:
		return &Request{Kind: AskText, Text: *x.Text}, nil
	case x.Render != nil:
		return &Request{Kind: AskRender, Render: x.Render}, nil
	case x.Encode != nil:
		return &Request{Kind: AskEncode, Encode: *x.Encode}, nil
	}
	return nil, fmt.Errorf("request of a transcript: %.80q has none of messages, text, render, encode", s)
}
